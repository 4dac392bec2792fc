"""The sizes of a base model's linear layers, from its config.json where it lies in a local folder."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Decoders with the same names and meanings of sizes; others are not compared.
_FAMILIES = {
    *("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"),
    *("GemmaForCausalLM", "Gemma2ForCausalLM", "OlmoForCausalLM", "Olmo2ForCausalLM"),
}
_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,6})\.")


@dataclass(frozen=True)
class BaseModel:
    """``linear``: (in, out) of a layer's modules, by their last name."""

    layers: int
    linear: Mapping[str, tuple[int, int]]


def layer_of(module: str) -> int | None:
    match = _LAYER.search(module)
    return int(match.group(1)) if match else None


def read_base_model(model: str) -> BaseModel | None:
    """None where ``model`` is no local folder, or of a family that is not known here."""
    path = Path(model) / "config.json"
    if not path.is_file():
        return None
    return base_model_of(json.loads(path.read_text()))


def base_model_of(config: Mapping[str, Any]) -> BaseModel | None:
    if not _FAMILIES.intersection(config.get("architectures") or ()):
        return None
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    keys = (config.get("num_key_value_heads") or heads) * head
    return BaseModel(
        layers=config["num_hidden_layers"],
        linear={
            "q_proj": (hidden, heads * head),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (heads * head, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        },
    )
