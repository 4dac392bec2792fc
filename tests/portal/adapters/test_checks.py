"""What an adapter must be. Malformed input is always refused by our own error, never by another."""

import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.adapters.architecture import BaseModel, base_model_of
from portal.adapters.checks import Findings, Serving, check_adapter
from portal.adapters.errors import AdapterError
from portal.adapters.safetensors import read_header
from tests.factories import BASE_MODEL, LORA_SHAPES, Q_PROJ, lora_config, safetensors_bytes

BASE = BaseModel(layers=1, linear={"q_proj": (8, 8)})
SERVING = Serving(pool="default", names=(BASE_MODEL, "/models/demo"), max_rank=8, base=BASE)


def check(
    *, config: bytes | None = None, weights: bytes | None = None, serving: Serving = SERVING
) -> Findings:
    raw = safetensors_bytes() if weights is None else weights
    return check_adapter(
        config=lora_config() if config is None else config,
        weights=io.BytesIO(raw),
        weights_size=len(raw),
        serving=serving,
    )


def refusal(**given: Any) -> str:
    with pytest.raises(AdapterError) as refused:
        check(**given)
    return refused.value.code


def shapes(*, a: tuple[int, ...] = (2, 8), b: tuple[int, ...] = (8, 2), module: str = Q_PROJ) -> bytes:
    return safetensors_bytes({f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b})


def test_a_sound_adapter_passes_and_says_what_was_checked() -> None:
    findings = check()

    assert (findings.rank, findings.target_modules, findings.dtype) == (2, ("q_proj",), "F32")
    assert len(findings.checks) == 5


def test_the_base_may_be_named_as_the_pool_names_it_or_its_folder() -> None:
    findings = check(config=lora_config(base_model_name_or_path="/models/demo"))

    assert findings.rank == 2


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"peft_type": "IA3"}, "adapter_config_invalid"),
        ({"r": 0}, "adapter_config_invalid"),
        ({"r": "8"}, "adapter_config_invalid"),
        ({"r": True}, "adapter_config_invalid"),
        ({"lora_alpha": None}, "adapter_config_invalid"),
        ({"lora_alpha": -1}, "adapter_config_invalid"),
        ({"target_modules": []}, "adapter_config_invalid"),
        ({"target_modules": "(a+)+$"}, "adapter_config_invalid"),
        ({"target_modules": ["k_proj"]}, "adapter_config_invalid"),
        ({"rank_pattern": [8]}, "adapter_config_invalid"),
        ({"base_model_name_or_path": None}, "adapter_config_invalid"),
        ({"base_model_name_or_path": "meta-llama/Llama-3.1-8B"}, "adapter_wrong_base"),
        ({"r": 9}, "adapter_rank_too_big"),
        ({"rank_pattern": {"q_proj": 64}}, "adapter_rank_too_big"),
        ({"use_dora": True}, "adapter_feature_unsupported"),
        ({"bias": "all"}, "adapter_feature_unsupported"),
        ({"modules_to_save": ["lm_head"]}, "adapter_feature_unsupported"),
        ({"init_lora_weights": "pissa"}, "adapter_feature_unsupported"),
    ],
)
def test_a_configuration_that_workers_could_not_serve_is_refused(settings: dict[str, Any], code: str) -> None:
    assert refusal(config=lora_config(**settings)) == code


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 200_000, b'{"r": 1e999}'])
def test_a_configuration_that_is_no_json_object_is_refused(raw: bytes) -> None:
    assert refusal(config=raw) == "adapter_config_invalid"


@pytest.mark.parametrize(
    ("weights", "code"),
    [
        (shapes(a=(4, 8), b=(8, 4)), "adapter_tensor_shape"),  # not the configured rank
        (shapes(a=(2, 8), b=(8, 4)), "adapter_tensor_shape"),
        (shapes(a=(2, 16)), "adapter_tensor_shape"),  # another hidden size
        (shapes(module=Q_PROJ.replace("layers.0", "layers.7")), "adapter_tensor_shape"),
        (safetensors_bytes({f"{Q_PROJ}.lora_A.weight": (2, 8, 1)}), "adapter_tensor_shape"),
        (safetensors_bytes({f"{Q_PROJ}.lora_A.weight": (2, 8)}), "adapter_tensor_name"),
        (safetensors_bytes({"lm_head.weight": (2, 8)}), "adapter_tensor_name"),
        (safetensors_bytes({}), "adapter_tensor_name"),
        (safetensors_bytes(dtype="I64"), "adapter_dtype"),
        (safetensors_bytes(dtype="F4"), "adapter_not_safetensors"),
        (safetensors_bytes()[:-1], "adapter_not_safetensors"),
        (safetensors_bytes() + b"\0", "adapter_not_safetensors"),
        (b"\x80\x04\x95pickled", "adapter_not_safetensors"),
        (b"PK\x03\x04" + bytes(60), "adapter_not_safetensors"),
        (b"", "adapter_not_safetensors"),
        (struct.pack("<Q", 2**63) + b"{}", "adapter_not_safetensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: bytes, code: str) -> None:
    assert refusal(weights=weights) == code


def test_a_header_that_names_a_tensor_twice_is_refused() -> None:
    entry = '"x": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}'
    header = f"{{{entry}, {entry}}}".encode()

    assert refusal(weights=struct.pack("<Q", len(header)) + header + bytes(4)) == "adapter_not_safetensors"


def test_without_the_base_model_at_hand_its_sizes_are_not_compared_and_that_is_said() -> None:
    serving = Serving(pool="default", names=(BASE_MODEL,), max_rank=8, base=None)

    findings = check(weights=shapes(a=(2, 16)), serving=serving)

    assert "not compared" in findings.checks[-1]


def test_the_sizes_of_a_base_model_come_from_its_configuration() -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 2,
    }

    base = base_model_of(config)

    assert base is not None
    assert base.linear["k_proj"] == (256, 128)
    assert base.linear["down_proj"] == (512, 256)
    assert base_model_of({**config, "architectures": ["Unheard"]}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
CONFIG_NAMES = (
    *("peft_type", "r", "lora_alpha", "target_modules", "base_model_name_or_path", "bias", "rank_pattern"),
    *("init_lora_weights", "use_dora", "modules_to_save"),
)


@given(st.binary(max_size=200))
def test_any_bytes_as_weights_are_refused_by_our_error_alone(raw: bytes) -> None:
    with pytest.raises(AdapterError):
        read_header(io.BytesIO(raw), size=len(raw)) or check(weights=raw)


@given(st.dictionaries(st.sampled_from(list(LORA_SHAPES)) | st.text(max_size=20), json_values, max_size=4))
def test_any_json_as_a_header_is_refused_by_our_error_alone(header: dict[str, Any]) -> None:
    raw = json.dumps(header).encode()

    with pytest.raises(AdapterError):
        check(weights=struct.pack("<Q", len(raw)) + raw + bytes(64))


@given(
    st.integers(0, len(safetensors_bytes()) - 1),
    st.integers(1, 255),
)
def test_a_flipped_byte_is_accepted_as_sound_weights_or_refused_by_our_error(place: int, flip: int) -> None:
    raw = bytearray(safetensors_bytes())
    raw[place] ^= flip

    try:
        findings = check(weights=bytes(raw))
    except AdapterError:
        return
    assert findings.rank == 2


@given(st.dictionaries(st.sampled_from(CONFIG_NAMES), json_values))
def test_any_configuration_is_accepted_or_refused_by_our_error(settings: dict[str, Any]) -> None:
    try:
        findings = check(config=lora_config(**settings))
    except AdapterError:
        return
    assert findings.rank <= SERVING.max_rank


@given(rank=st.integers(1, 8), hidden=st.integers(1, 64), out=st.integers(1, 64))
def test_every_well_formed_adapter_passes(rank: int, hidden: int, out: int) -> None:
    serving = Serving(pool="p", names=(BASE_MODEL,), max_rank=8, base=BaseModel(1, {"q_proj": (hidden, out)}))

    findings = check(
        config=lora_config(r=rank), weights=shapes(a=(rank, hidden), b=(out, rank)), serving=serving
    )

    assert findings.rank == rank
