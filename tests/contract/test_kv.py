"""Bytes per token of models whose arithmetic is published or can be done by hand."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.kv import ModelConfigError, kv_bytes_per_token
from inference.demo_model import voices

LLAMA_2_7B = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "torch_dtype": "float16",
}
LLAMA_31_8B = {**LLAMA_2_7B, "num_key_value_heads": 8, "torch_dtype": "bfloat16"}
QWEN2_7B = {
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "sliding_window": 131072,
    "use_sliding_window": False,
}
MISTRAL_7B = {**LLAMA_31_8B, "sliding_window": 4096}
GPT_2 = {"n_embd": 768, "n_head": 12, "n_layer": 12}
DEEPSEEK_V2_LITE = {
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "num_key_value_heads": 16,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
}
FALCON_7B = {"hidden_size": 4544, "num_attention_heads": 71, "num_hidden_layers": 32, "multi_query": True}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA_2_7B, 524_288),  # half a MiB per token
        (LLAMA_31_8B, 131_072),
        (QWEN2_7B, 57_344),
        (MISTRAL_7B, 131_072),
        (GPT_2, 36_864),
        (DEEPSEEK_V2_LITE, 31_104),
        (FALCON_7B, 8_192),
        ({"text_config": LLAMA_31_8B, "vision_config": GPT_2}, 131_072),
    ],
    ids=["llama-2", "llama-3.1", "qwen2", "mistral", "gpt-2", "mla", "multi-query", "nested"],
)
def test_a_known_model_weighs_what_it_weighs(config: dict[str, Any], expected: int):
    assert kv_bytes_per_token(config) == expected


def test_the_demo_model_weighs_a_kibibyte():
    config = json.loads((voices.base_folder() / "config.json").read_text())

    assert kv_bytes_per_token(config) == 1024


def test_a_head_size_of_its_own_goes_before_the_quotient():
    assert kv_bytes_per_token({**LLAMA_31_8B, "head_dim": 256}) == 2 * 131_072


def test_eight_bits_are_half_of_sixteen():
    assert kv_bytes_per_token(LLAMA_31_8B, cache_dtype="fp8") == 65_536


def test_layers_without_a_cache_weigh_nothing():
    types = ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 8

    assert kv_bytes_per_token({**LLAMA_31_8B, "layer_types": types}) == 131_072 // 4


@given(
    layers=st.integers(1, 100), heads=st.integers(1, 64), share=st.integers(1, 8), size=st.integers(1, 256)
)
def test_sharing_heads_divides_by_how_many_share(layers: int, heads: int, share: int, size: int):
    config = {"num_hidden_layers": layers, "num_attention_heads": heads * share, "head_dim": size}

    shared = kv_bytes_per_token({**config, "num_key_value_heads": heads})

    assert shared * share == kv_bytes_per_token(config)


@pytest.mark.parametrize(
    "config", [{}, {"n_layer": 2}, {"n_layer": 0, "n_head": 1, "n_embd": 8}, {"n_layer": "2", "n_head": 1}]
)
def test_a_configuration_that_does_not_say_is_refused(config: dict[str, Any]):
    with pytest.raises(ModelConfigError):
        kv_bytes_per_token(config)


def test_an_unknown_cache_dtype_is_refused():
    with pytest.raises(ModelConfigError):
        kv_bytes_per_token(GPT_2, cache_dtype="fp3")
