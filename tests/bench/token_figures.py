"""``python -m tests.bench.token_figures``: what counting a chat's prompt costs, by its length.

The demo model makes a token of every byte, the worst that a byte-level tokenizer can do; the other one is
trained here on the project's own prose and makes about one of four characters, as usual models do.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.gateway.body.bound import prompt_bound
from gateway_hooks.tokens.counter import TokenCounter
from gateway_hooks.tokens.model import TEMPLATE, TOKENIZER
from gateway_hooks.tokens.store import TokenizerStore
from inference.demo_model import voices
from tests.gateway_hooks import world

ROOT = Path(__file__).resolve().parents[2]
CHARACTERS = (200, 2_000, 20_000)
ROUNDS = 200


def figures() -> dict[str, Any]:
    """Per tokenizer and length: microseconds per prompt, its tokens, and the bound by its bytes."""
    prose = "\n".join(path.read_text() for path in sorted(ROOT.glob("*/README.md")))
    with tempfile.TemporaryDirectory() as name:
        merged = _merged(Path(name), prose)
        return {
            "bytes": asyncio.run(_measured(voices.base_folder(), prose)),
            "merged": asyncio.run(_measured(merged, prose)),
        }


def _merged(folder: Path, prose: str) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([prose], trainers.BpeTrainer(vocab_size=8_000, initial_alphabet=alphabet))
    tokenizer.save(str(folder / TOKENIZER))
    (folder / TEMPLATE).write_text((voices.base_folder() / TEMPLATE).read_text())
    return folder


async def _measured(folder: Path, prose: str) -> dict[str, Any]:
    pool = msgspec.structs.replace(world.POOL, model=str(folder), max_model_len=1_000_000)
    store = TokenizerStore(None)
    store.refresh([pool])
    counter = TokenCounter(store)
    text = prose * (1 + max(CHARACTERS) // len(prose))
    return {str(length): await _one(counter, pool, text[:length]) for length in CHARACTERS}


async def _one(counter: TokenCounter, pool: Pool, text: str) -> dict[str, Any]:
    fields = {"messages": [{"role": "user", "content": text}]}
    costs = []
    tokens = 0
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        tokens = await counter.count(pool, "chat.completions", fields)
        costs.append((time.perf_counter() - begun) * 1e6)
    return {
        "p50_us": round(median(costs), 1),
        "p99_us": round(quantiles(costs, n=100)[98], 1),
        "tokens": tokens,
        "bound": prompt_bound(fields),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures(), indent=2) + "\n")
