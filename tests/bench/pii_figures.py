"""What masking and restoring cost. ``python -m tests.bench.pii_figures`` prints one JSON object."""

import json
import statistics
import time
from collections.abc import Callable

from gateway_hooks.contract.pii import ENTITIES, PiiPolicy
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import CompiledPolicy, compile_policy
from gateway_hooks.pii.restore import Restorer

KEY = b"k" * 32
LONG = 100_000
VALUES = (
    "bob.{n}@example.com",
    "+1 212 555 {n:04d}",
    "4111 1111 1111 1111",
    "IBAN DE89 3704 0044 0532 0130 00",
    "password: hunter{n}",
    "10.0.{n}.7",
    "SSN 123-45-{n:04d}",
    "https://user{n}:secret@db.example.com/x",
    "born 12/03/19{n:02d}",
    "sk-tn-0123456789ab-0123456789abcdef{n:04d}",
)
ADVERSARIAL = {
    "a@": "a@", "a@b.": "a@b.", "1-": "1-", "1 ": "1 ", "12-": "12-", "::": "::", "a:": "a:",
    "1.": "1.", "+1 ": "+1 ",
    "(0": "(0", "http://a:a": "http://a:a", "http://a:a@": "http://a:a@", "sk-": "sk-", "eyJ": "eyJ",
    "password=": "password=",
    "GB82 WEST ": "GB82 WEST ", "4112 ": "4112 ", "P<UTO": "P<UTO",
    "-----BEGIN PRIVATE KEY-----": "-----BEGIN PRIVATE KEY-----",
    "<": "<", "<EMAIL_ADDRESS_": "<EMAIL_ADDRESS_", "a": "a", "1": "1", "{[": "{[", "phone ": "phone ",
    "\u200b1": "\u200b1",
    "1a:": "1a:", "0x": "0x", "00:": "00:", "bc1q": "bc1q", "A1": "A1", "order ": "order ", " ": " ",
    "é@": "é@",
}  # fmt: skip


def text(length: int) -> str:
    """Plain sentences with one value in about 100 characters."""
    filler = "This is a plain sentence of ordinary words and nothing else in it. "
    pieces, total = [], 0
    for number in range(length):
        piece = filler + VALUES[number % len(VALUES)].format(n=number % 100) + ". "
        pieces.append(piece)
        total += len(piece)
        if total >= length:
            break
    return "".join(pieces)[:length]


def p50_ms(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


def mask(compiled: CompiledPolicy, source: str) -> Masker:
    masker = Masker(compiled, KEY)
    masker.mask_texts([source])
    return masker


def adversarial_ms(compiled: CompiledPolicy) -> dict[str, float]:
    """The better of three runs for each unit repeated to 100 KB."""
    worst = {}
    for name, unit in ADVERSARIAL.items():
        source = unit * (LONG // len(unit))
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            mask(compiled, source)
            times.append(time.perf_counter() - begin)
        worst[name] = min(times) * 1e3
    return worst


def restore_us(compiled: CompiledPolicy) -> float:
    """Microseconds a chunk of four characters."""
    source = text(2_000)
    masker = Masker(compiled, KEY)
    masked = masker.mask_texts([source])[0]
    chunks = [masked[place : place + 4] for place in range(0, len(masked), 4)]

    def work() -> None:
        restorer = Restorer(masker.mapping)
        for chunk in chunks:
            restorer.feed(chunk)

    return p50_ms(work, 30) * 1e3 / len(chunks)


def figures() -> dict[str, float]:
    """All entities on."""
    compiled = compile_policy(PiiPolicy(entities=dict.fromkeys(ENTITIES, "mask")))
    short, middle, long = text(200), text(2_000), text(20_000)
    mask(compiled, middle)
    return {
        "pii_200_p50_ms": round(p50_ms(lambda: mask(compiled, short), 100), 3),
        "pii_2k_p50_ms": round(p50_ms(lambda: mask(compiled, middle), 60), 3),
        "pii_20k_p50_ms": round(p50_ms(lambda: mask(compiled, long), 15), 3),
        "pii_adversarial_100k_ms": round(max(adversarial_ms(compiled).values()), 1),
        "restore_us_per_chunk": round(restore_us(compiled), 3),
    }


if __name__ == "__main__":
    print(json.dumps(figures()))  # noqa: T201
