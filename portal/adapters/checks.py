"""What an adapter must be before anything may use it. Pure: files in, findings or ``AdapterError`` out."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, BinaryIO

from portal.adapters.architecture import BaseModel, layer_of
from portal.adapters.errors import AdapterError
from portal.adapters.safetensors import Tensor, read_header

MAX_CONFIG_BYTES = 1 << 20
_WEIGHT_NAME = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<side>[AB])\.weight")
_MODULE_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
# What the engine refuses at load time, refused here with a reason instead.
_UNSUPPORTED = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "lora_bias": "a LoRA bias",
    "modules_to_save": "whole modules beside the LoRA weights (modules_to_save)",
    "alora_invocation_tokens": "Activated LoRA",
    "layer_replication": "layer replication",
    "trainable_token_indices": "trained token embeddings",
}
_INITS_THAT_KEEP_THE_BASE = {"gaussian", "eva", "orthogonal", "mica", "lora_ga"}


@dataclass(frozen=True)
class AdapterConfig:
    """``ranks``: r and every rank of rank_pattern. ``target_modules`` is empty for "all-linear"."""

    rank: int
    ranks: frozenset[int]
    target_modules: tuple[str, ...]
    base_model: str


@dataclass(frozen=True)
class Serving:
    """What a pool offers. ``names``: how an adapter may call its base model."""

    pool: str
    names: tuple[str, ...]
    max_rank: int
    base: BaseModel | None


@dataclass(frozen=True)
class Findings:
    """A checked adapter; ``checks`` are sentences for people."""

    rank: int
    target_modules: tuple[str, ...]
    dtype: str
    checks: tuple[str, ...]


def check_adapter(*, config: bytes, weights: BinaryIO, weights_size: int, serving: Serving) -> Findings:
    """Raises ``AdapterError`` with the first rule that is broken."""
    adapter = parse_config(config)
    _require_base(adapter, serving)
    _require_rank(adapter, serving)
    tensors = read_header(weights, size=weights_size)
    modules = _pair_up(tensors, adapter)
    targets = _require_targets(modules, adapter)
    if serving.base is not None:
        _require_shapes(modules, serving.base)
    dtype = "+".join(sorted({tensor.dtype for tensor in tensors}))
    parameters = sum(tensor.parameters for tensor in tensors)
    return Findings(
        rank=max(adapter.ranks),
        target_modules=targets,
        dtype=dtype,
        checks=(
            f"Weights are safetensors: {len(tensors)} matrices, {parameters:,} parameters, {dtype}.",
            f"The configuration is a LoRA of rank {adapter.rank} for {', '.join(targets)}.",
            f"Rank {max(adapter.ranks)} is within the {serving.max_rank} that pool {serving.pool} takes.",
            f"It was trained on {adapter.base_model}, which pool {serving.pool} serves.",
            _shape_check(serving.base),
        ),
    )


def _shape_check(base: BaseModel | None) -> str:
    if base is None:
        return "Shapes fit one another; the base model is not on this host, so its sizes were not compared."
    return "Shapes fit one another and the base model's layers."


def parse_config(raw: bytes) -> AdapterConfig:
    """adapter_config.json as PEFT writes it. Raises ``AdapterError``."""
    try:
        config = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise _invalid(why="it is not JSON") from error
    if not isinstance(config, dict):
        raise _invalid(why="it is not a JSON object")
    if config.get("peft_type") != "LORA":
        raise _invalid(why=f"peft_type is {_show(config.get('peft_type'))} and must be LORA")
    _require_supported(config)
    rank = _positive(config.get("r"), "r")
    alpha: Any = config.get("lora_alpha")
    if type(alpha) not in (int, float) or not 0 < alpha < float("inf"):
        raise _invalid(why="lora_alpha must be a positive number")
    base_model = config.get("base_model_name_or_path")
    if not isinstance(base_model, str) or not base_model:
        raise _invalid(why="base_model_name_or_path is missing")
    return AdapterConfig(
        rank=rank,
        ranks=frozenset({rank, *_pattern_ranks(config.get("rank_pattern"))}),
        target_modules=_targets(config.get("target_modules")),
        base_model=base_model,
    )


def _require_supported(config: dict[str, Any]) -> None:
    for name, words in _UNSUPPORTED.items():
        if config.get(name):
            message = f"The adapter uses {words} ({name}), which the workers cannot serve."
            raise AdapterError(message, code="adapter_feature_unsupported")
    if config.get("bias", "none") != "none":
        message = 'The adapter trains biases. Train it with bias="none".'
        raise AdapterError(message, code="adapter_feature_unsupported")
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in _INITS_THAT_KEEP_THE_BASE:
        message = (
            f"init_lora_weights={_show(init)} changes the base model. "
            "Convert the adapter with PEFT's path_initial_model_for_weight_conversion."
        )
        raise AdapterError(message, code="adapter_feature_unsupported")


def _positive(value: Any, name: str) -> int:
    if type(value) is not int or value <= 0:
        raise _invalid(why=f"{name} must be a positive whole number, not {_show(value)}")
    return value


def _pattern_ranks(pattern: Any) -> list[int]:
    if not isinstance(pattern or {}, dict):
        raise _invalid(why="rank_pattern must be an object")
    return [_positive(rank, "every rank in rank_pattern") for rank in (pattern or {}).values()]


def _targets(value: Any) -> tuple[str, ...]:
    if value == "all-linear":
        return ()
    names = value if isinstance(value, list) else [value]
    # A pattern would have to be run as a regular expression of a stranger.
    if not names or not all(isinstance(name, str) and _MODULE_NAME.fullmatch(name) for name in names):
        raise _invalid(why="target_modules must list module names, such as q_proj (no patterns)")
    return tuple(sorted(set(names)))


def _require_base(adapter: AdapterConfig, serving: Serving) -> None:
    if adapter.base_model not in serving.names:
        message = (
            f"The adapter was trained on {_show(adapter.base_model)}, but pool {serving.pool} serves "
            f"{serving.names[0]}. Choose a pool with its base model. If both are the same model, set "
            f"base_model_name_or_path in adapter_config.json to {serving.names[0]}."
        )
        raise AdapterError(message, code="adapter_wrong_base")


def _require_rank(adapter: AdapterConfig, serving: Serving) -> None:
    rank = max(adapter.ranks)
    if rank > serving.max_rank:
        message = (
            f"The adapter's rank is {rank}; pool {serving.pool} takes at most {serving.max_rank}. "
            "Train a smaller one, or raise the pool's largest adapter rank and restart its workers."
        )
        raise AdapterError(message, code="adapter_rank_too_big")


Modules = dict[str, tuple[Tensor, Tensor]]


def _pair_up(tensors: list[Tensor], adapter: AdapterConfig) -> Modules:
    """(A, B) by module; A is [rank, in] and B is [out, rank]."""
    sides: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for tensor in tensors:
        match = _WEIGHT_NAME.fullmatch(tensor.name)
        if match is None:
            message = (
                f"Tensor {tensor.name[:120]!r} is no LoRA weight "
                "(base_model.model.<module>.lora_A.weight or lora_B). Save the adapter with PEFT."
            )
            raise AdapterError(message, code="adapter_tensor_name")
        sides[match["module"]][match["side"]] = tensor
    if not sides:
        message = "The adapter has no weights."
        raise AdapterError(message, code="adapter_tensor_name")
    return {module: _pair(module, found, adapter) for module, found in sides.items()}


def _pair(module: str, found: dict[str, Tensor], adapter: AdapterConfig) -> tuple[Tensor, Tensor]:
    if set(found) != {"A", "B"}:
        message = f"Module {module[:120]!r} has only one of lora_A and lora_B. Save the adapter again."
        raise AdapterError(message, code="adapter_tensor_name")
    a, b = found["A"], found["B"]
    if a.shape[0] != b.shape[1] or a.shape[0] not in adapter.ranks:
        message = (
            f"Module {module[:120]!r} has shapes {list(a.shape)} and {list(b.shape)}, "
            f"which do not fit rank {adapter.rank}."
        )
        raise AdapterError(message, code="adapter_tensor_shape")
    return a, b


def _require_targets(modules: Modules, adapter: AdapterConfig) -> tuple[str, ...]:
    if not adapter.target_modules:
        return tuple(sorted({module.rpartition(".")[2] for module in modules}))
    for module in modules:
        if not any(module == target or module.endswith(f".{target}") for target in adapter.target_modules):
            message = f"There are weights for {module[:120]!r}, which target_modules does not name."
            raise AdapterError(message, code="adapter_config_invalid")
    return adapter.target_modules


def _require_shapes(modules: Modules, base: BaseModel) -> None:
    for module, (a, b) in modules.items():
        layer = layer_of(module)
        if layer is not None and layer >= base.layers:
            message = f"There are weights for layer {layer}; the base model has {base.layers} layers."
            raise AdapterError(message, code="adapter_tensor_shape")
        expected = base.linear.get(module.rpartition(".")[2])
        if expected is not None and (a.shape[1], b.shape[0]) != expected:
            message = (
                f"Module {module[:120]!r} maps {a.shape[1]} to {b.shape[0]} numbers; in the base model it "
                f"maps {expected[0]} to {expected[1]}. The adapter was trained on another model."
            )
            raise AdapterError(message, code="adapter_tensor_shape")


def _show(value: Any) -> str:
    return repr(value)[:80]


def _invalid(*, why: str) -> AdapterError:
    message = f"adapter_config.json cannot be used: {why}. Save the adapter again with PEFT."
    return AdapterError(message, code="adapter_config_invalid")
