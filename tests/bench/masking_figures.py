"""What masking costs the gateway: ``python -m tests.bench.masking_figures`` prints the figures as JSON.

First token: what restoring adds to the first chunk of a stream, from the answer's rewriter made anew to the
bytes to send, above the same without a mask. Medians of microseconds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway_hooks.contract.pii import ENTITIES, NER_ENTITIES, PiiPolicy
from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.masking.request import mask_body
from gateway_hooks.gateway.rewrite import Rewriter
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import compile_policy

ROUNDS = 400
CHUNKS = 60
VALUES = 12
LENGTH = 2_000
KEY = b"k" * 32
CHAT = BY_PATH["/v1/chat/completions"]
POLICY = compile_policy(PiiPolicy(entities={name: "mask" for name in ENTITIES if name not in NER_ENTITIES}))
SENTENCE = (
    "Please write to customer{0}@example.org about the order that came too late last week, and {0} more. "
)


def chat_of(length: int) -> dict[str, Any]:
    """Four messages of ``length`` characters together, about one value per hundred."""
    text = "".join(SENTENCE.format(number) for number in range(length // 90))[:length]
    quarter = len(text) // 4
    roles = ("system", "user", "assistant", "user")
    parts = [text[start : start + quarter] for start in range(0, 4 * quarter, quarter)]
    return {"messages": [{"role": role, "content": part} for role, part in zip(roles, parts, strict=True)]}


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    frame = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "support",
    }
    return b"data: " + json.dumps({**frame, "choices": [choice]}, separators=(",", ":")).encode()


def ticket_of(mask: Mask | None) -> Ticket:
    made = Ticket(request_id="r", endpoint=CHAT, ts=datetime(2026, 11, 21, tzinfo=UTC), started=0.0)
    made.mask = mask
    return made


def median_us(step: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Of single calls, after a warm-up."""
    taken = []
    for _ in range(rounds + rounds // 10):
        start = time.perf_counter_ns()
        step()
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken[rounds // 10 :]) / 1000


def known() -> tuple[dict[str, str], str]:
    """A mapping of some values, and one of its placeholders."""
    masker = Masker(POLICY, KEY)
    masker.mask_texts([" ".join(f"customer{number}@example.org" for number in range(VALUES))])
    return masker.mapping, next(iter(masker.mapping))


def first_chunk_us(mapping: dict[str, str] | None, event: bytes) -> float:
    """A mask belongs to one request: each round has its own."""
    return median_us(lambda: Rewriter(ticket_of(None if mapping is None else Mask(mapping, {}))).event(event))


def per_chunk_us(mapping: dict[str, str] | None, events: list[bytes]) -> float:
    def stream() -> None:
        rewriter = Rewriter(ticket_of(None if mapping is None else Mask(mapping, {})))
        for event in events:
            rewriter.event(event)

    return median_us(stream, rounds=ROUNDS // 4) / len(events)


def figures() -> dict[str, float]:
    """Microseconds by name."""
    mapping, placeholder = known()
    plain, stirring = chunk("Hello"), chunk(f"Dear {placeholder[:4]}")
    answer = f"Dear {placeholder}, " * 10
    size = max(1, len(answer) // CHUNKS)
    pieces = [chunk(answer[start : start + size]) for start in range(0, len(answer), size)]
    body = chat_of(LENGTH)
    without = first_chunk_us(None, plain)
    made = {
        "masking_body_2k_us": median_us(lambda: mask_body(CHAT.name, body, Masker(POLICY, KEY))),
        "masking_first_token_added_us": first_chunk_us(mapping, stirring) - without,
        "masking_first_token_added_plain_us": first_chunk_us(mapping, plain) - without,
        "masking_chunk_without_us": per_chunk_us(None, pieces),
        "masking_chunk_plain_us": per_chunk_us(mapping, [plain] * CHUNKS),
        "masking_chunk_restored_us": per_chunk_us(mapping, pieces),
    }
    return {name: round(value, 2) for name, value in made.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures()) + "\n")
