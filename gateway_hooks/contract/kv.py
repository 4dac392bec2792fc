"""How much of a worker's memory one token holds, from a model's ``config.json``: for limits and console."""

from collections.abc import Mapping
from typing import Any

from gateway_hooks.contract.errors import ContractError

_STATELESS_LAYERS = frozenset({"linear_attention", "mamba", "mamba2", "conv", "recurrent"})
_BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "int8": 1}


class ModelConfigError(ContractError):
    """The configuration does not say what a token's keys and values weigh."""

    code = "model_config_unusable"


def kv_bytes_per_token(config: Mapping[str, Any], *, cache_dtype: str = "auto") -> int:
    """Bytes of keys and values per token over all layers: 2 x layers x key/value heads x head size x dtype.

    - Grouped-query and multi-query attention: by the heads that keys and values have.
    - Multi-head latent attention (``kv_lora_rank``; DeepSeek-V2, arXiv 2405.04434): one compressed vector
      and one rotary key per layer, in place of keys and values.
    - A sliding window bounds how many tokens a sequence keeps, not what one of them weighs: for long
      sequences this is an upper bound.
    - Layers that keep a state of fixed size instead of a cache (``layer_types``) weigh nothing per token.
    - ``cache_dtype`` is vLLM's ``--kv-cache-dtype``. ``auto`` follows the model, which vLLM serves in 16
      bits even where its weights are stored in 32.

    Tensor parallel workers share this between them. Raises ``ModelConfigError``.
    """
    model = config.get("text_config") or config
    if cache_dtype not in _BYTES:
        message = f"the cache dtype {cache_dtype!r} is not known"
        raise ModelConfigError(message)
    return _layers(model) * _values_per_layer(model) * _BYTES[cache_dtype]


def _values_per_layer(model: Mapping[str, Any]) -> int:
    latent = _number(model, "kv_lora_rank")
    if latent is not None:
        return latent + (_number(model, "qk_rope_head_dim") or 0)
    heads = _required(model, "num_attention_heads", "n_head", "n_heads")
    if model.get("multi_query") is True and "num_key_value_heads" not in model:
        shared: int | None = 1
    else:
        shared = _number(model, "num_key_value_heads", "num_kv_heads", "n_head_kv")
    size = (
        _number(model, "head_dim", "kv_channels")
        or _required(model, "hidden_size", "n_embd", "d_model") // heads
    )
    return 2 * (shared or heads) * size


def _layers(model: Mapping[str, Any]) -> int:
    types = model.get("layer_types")
    if isinstance(types, list) and types:
        return sum(kind not in _STATELESS_LAYERS for kind in types)
    return _required(model, "num_hidden_layers", "n_layer", "n_layers", "num_layers")


def _number(model: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is a positive integer."""
    for name in names:
        value = model.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _required(model: Mapping[str, Any], *names: str) -> int:
    value = _number(model, *names)
    if value is None:
        message = f"the model's configuration has no {names[0]}"
        raise ModelConfigError(message)
    return value
