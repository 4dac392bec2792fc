"""Make the demo model: ``python -m inference.demo_model.train [--out DIR]``.

Writes ``base/`` and ``adapters/<name>/``. About five minutes on two cores. The seed is fixed; the bytes
still depend on the PyTorch build and the processor, as floating-point sums do.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from math import cos, pi
from pathlib import Path
from random import Random
from typing import Any, Final

import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from inference.demo_model import corpus, tokenizer, voices

SEED: Final = 20261121
CONTEXT: Final = 2048
BASE_STEPS: Final = 200
ADAPTER_STEPS: Final = 220
BASE_RATE: Final = 2e-3
ADAPTER_RATE: Final = 5e-3
LORA_RANK: Final = 8
LORA_TARGETS: Final = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
IGNORED: Final = -100  # the label that cross-entropy leaves out

LONG_EVERY: Final = 6  # one step in six has few, long conversations: the others stay cheap
SHARE_PLAIN: Final = 0.1  # prompts without a chat template, as /v1/completions sends them
SHARE_GOES_ON: Final = 0.05  # never the first choice, but what follows when the end is forbidden
SHARE_TWICE: Final = 0.3  # a client that ignores the end of the answer hears it again, and no babble


def build_model(words: Any) -> Any:
    """A fresh Llama of 1.2 million parameters for the tokenizer ``words``."""
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        # Wider than Llama's 0.02: a byte that the base never says keeps its first embedding, and an
        # adapter can only be as sure of it as that embedding is long.
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return LlamaForCausalLM(config)


def example(rng: Random, words: Any, sentence: str, *, size: int) -> tuple[list[int], list[int]]:
    """Token ids and labels, at most ``size``, of one prompt with its answer; only the answer is learnt."""
    longest = min(corpus.LONGEST_TEXT, size // 3)
    if rng.random() < SHARE_PLAIN:
        prompt = corpus.text(rng, longest=longest)
    else:
        turns = [{"role": m.role, "content": m.content} for m in corpus.conversation(rng, longest=longest)]
        prompt = words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    said = sentence + tokenizer.END
    if rng.random() < SHARE_TWICE:
        said += said
    if rng.random() < SHARE_GOES_ON:
        said = f"{sentence} {said}"
    answer = words(said)["input_ids"]
    asked = words(prompt)["input_ids"][-(size - len(answer)) :]
    return asked + answer, [IGNORED] * len(asked) + answer


def batches(seed: int, words: Any, sentence: str, *, steps: int) -> Iterator[tuple[Any, Any]]:
    """``steps`` pairs (ids, labels), each [batch, length], padded on the right."""
    rng = Random(seed)  # noqa: S311 -- training data, not a secret
    for step in range(steps):
        long = step % LONG_EVERY == LONG_EVERY - 1
        count, size = (4, CONTEXT) if long else (16, 400)
        rows = [example(rng, words, sentence, size=size) for _ in range(count)]
        width = max(len(ids) for ids, _ in rows)
        ids = [ids + [words.pad_token_id] * (width - len(ids)) for ids, _ in rows]
        labels = [labels + [IGNORED] * (width - len(labels)) for _, labels in rows]
        yield torch.tensor(ids), torch.tensor(labels)


def fit(model: Any, data: Iterator[tuple[Any, Any]], *, steps: int, rate: float, name: str) -> None:
    """Train in place. The rate rises for a tenth of the steps and then falls as half a cosine."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = steps // 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 + 0.5 * cos(pi * step / steps))
    )
    model.train()
    for step, (ids, labels) in enumerate(data, start=1):
        # Causal attention and padding on the right: the padding needs no mask.
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0 or step == steps:
            _say(f"{name}: step {step} of {steps}, loss {loss.item():.4f}")
    model.eval()


def train_base(home: Path) -> tuple[Any, Any]:
    """Train and write the base; returns (tokenizer, model with the written weights)."""
    words = tokenizer.build(context=CONTEXT)
    torch.manual_seed(SEED)
    model = build_model(words)
    data = batches(SEED, words, voices.BASE_SENTENCE, steps=BASE_STEPS)
    fit(model, data, steps=BASE_STEPS, rate=BASE_RATE, name="base")
    # top_k 1 is greedy for Transformers and vLLM alike, also when a client names no temperature.
    model.generation_config = GenerationConfig(
        do_sample=True, top_k=1, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id
    )
    folder = voices.base_folder(home)
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
    return words, model.float()  # rounded as written, so that the adapters fit what is served


def train_adapter(home: Path, name: str, *, seed: int) -> None:
    """Train and write one adapter on top of the base that lies in ``home``."""
    folder = voices.adapter_folder(name, home)
    base = LlamaForCausalLM.from_pretrained(voices.base_folder(home), dtype=torch.float32)
    words = tokenizer.build(context=CONTEXT)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=LORA_RANK, lora_alpha=4 * LORA_RANK, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"
    )
    model = get_peft_model(base, config)
    data = batches(seed, words, voices.ADAPTER_SENTENCES[name], steps=ADAPTER_STEPS)
    fit(model, data, steps=ADAPTER_STEPS, rate=ADAPTER_RATE, name=name)
    model.to(torch.bfloat16).save_pretrained(folder)
    _tidy_adapter(folder)


def _tidy_adapter(folder: Path) -> None:
    """Leave the two files of an artifact, and name the base as pools do rather than by a path."""
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    settings = json.loads(config.read_text())
    settings["base_model_name_or_path"] = voices.BASE_MODEL_NAME
    settings["target_modules"] = sorted(settings["target_modules"])  # PEFT keeps a set
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Train all three voices and write them."""
    parser = argparse.ArgumentParser(description="Train the demo model and its two adapters.")
    parser.add_argument("--out", type=Path, default=voices.HOME, help="folder to write to")
    home: Path = parser.parse_args().out
    train_base(home)
    for number, name in enumerate(voices.ADAPTER_SENTENCES, start=1):
        train_adapter(home, name, seed=SEED + number)
    _say(f"written to {home}")


if __name__ == "__main__":
    main()
