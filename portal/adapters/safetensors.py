"""Reads the header of a safetensors file, and nothing else of it. Pure, and hard on malformed input.

Format: 8 bytes little-endian length N, N bytes of JSON (name -> dtype, shape, data_offsets), then the
tensors' bytes without gap or overlap. https://github.com/huggingface/safetensors
"""

import json
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

from portal.adapters.errors import AdapterError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 << 20
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_OTHER_DTYPES = {"F64", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "F8_E4M3", "F8_E5M2"}
_MATRIX = 2


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, int]

    @property
    def parameters(self) -> int:
        return prod(self.shape)


def read_header(file: BinaryIO, *, size: int) -> list[Tensor]:
    """The matrices in a safetensors ``file`` of ``size`` bytes. Raises ``AdapterError`` for anything else."""
    start = file.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or length > min(MAX_HEADER_BYTES, size - LENGTH_BYTES):
        raise _not_safetensors(why="it does not start with the length of a header")
    entries = _parse(file.read(length))
    tensors, spans = [], []
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        tensor, span = _tensor(name, entry)
        tensors.append(tensor)
        spans.append(span)
    _require_gapless(spans, size - LENGTH_BYTES - length)
    return tensors


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _not_safetensors(why="its header is not JSON with unique names") from error
    if not isinstance(header, dict):
        raise _not_safetensors(why="its header is not a JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers could disagree about a name that occurs twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a name occurs twice"
        raise ValueError(message)
    return found


def _tensor(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _not_safetensors(why=f"the header's entry {name[:80]!r} is no tensor")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _are_sizes(shape) or not _are_sizes(offsets):
        raise _not_safetensors(why=f"the header's entry {name[:80]!r} is no tensor")
    if dtype in _OTHER_DTYPES:
        message = f"Tensor {name[:80]!r} is {dtype}. Save the adapter as float32, float16 or bfloat16."
        raise AdapterError(message, code="adapter_dtype")
    if dtype not in DTYPE_BYTES:
        raise _not_safetensors(why=f"tensor {name[:80]!r} has an unknown dtype")
    if len(shape) != _MATRIX or not all(shape):
        message = f"Tensor {name[:80]!r} has shape {shape[:8]}; LoRA weights are matrices."
        raise AdapterError(message, code="adapter_tensor_shape")
    if len(offsets) != len(("start", "end")) or offsets[1] - offsets[0] != prod(shape) * DTYPE_BYTES[dtype]:
        raise _not_safetensors(why=f"the bytes of tensor {name[:80]!r} do not fit its shape")
    return Tensor(name, dtype, (shape[0], shape[1])), (offsets[0], offsets[1])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _require_gapless(spans: list[tuple[int, int]], size: int) -> None:
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise _not_safetensors(why="its tensors overlap or leave gaps")
        end = stop
    if end != size:
        raise _not_safetensors(why="it is cut short or has bytes after its last tensor")


def _not_safetensors(*, why: str) -> AdapterError:
    message = (
        f"adapter_model.safetensors is no valid safetensors file: {why}. "
        "Save it again with safetensors (PEFT does by default)."
    )
    return AdapterError(message, code="adapter_not_safetensors")
