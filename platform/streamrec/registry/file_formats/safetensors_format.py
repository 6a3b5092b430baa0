"""The header of a safetensors file, by the rules of the format's reference implementation.

8 bytes of little-endian length, then JSON, then exactly the tensors' bytes. Checked here and not by the
library, because a checker must refuse what readers could understand differently, repeated names first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, BinaryIO, Final

_MAXIMUM_HEADER_BYTES: Final = 100_000_000
"""The limit of the reference implementation."""

_PREFIX_BYTES: Final = 8
_METADATA: Final = "__metadata__"
_FIELDS: Final = {"dtype", "shape", "data_offsets"}
_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
    | dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
    | dict.fromkeys(("I16", "U16", "F16", "BF16"), 16)
    | dict.fromkeys(("I32", "U32", "F32"), 32)
    | dict.fromkeys(("I64", "U64", "F64", "C64"), 64)
)


def safetensors_problem(file: BinaryIO, size_bytes: int) -> str | None:
    """Return what is wrong with a file, or None.

    Raises:
        ValueError: The header is not JSON.
    """
    prefix = file.read(_PREFIX_BYTES)
    header_bytes = int.from_bytes(prefix, "little")
    if len(prefix) < _PREFIX_BYTES or header_bytes > min(size_bytes - _PREFIX_BYTES, _MAXIMUM_HEADER_BYTES):
        return "not a safetensors file, or truncated"
    text = file.read(header_bytes)
    if not text.startswith(b"{"):
        return "not a safetensors file: its header is no JSON object"
    header: dict[str, Any] = json.loads(text.decode("utf-8"), object_pairs_hook=_object)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        return f"{_METADATA} must map text to text"
    for name, tensor in header.items():
        problem = _tensor_problem(tensor)
        if problem is not None:
            return f"the tensor {name[:80]!r} {problem}"
    position = 0
    for begin, end in sorted(tuple(tensor["data_offsets"]) for tensor in header.values()):
        if begin != position:
            return "the tensors' offsets leave a gap or overlap"
        position = end
    if _PREFIX_BYTES + header_bytes + position != size_bytes:
        return "the file's size does not match its header: truncated or extended"
    return None


def _tensor_problem(tensor: Any) -> str | None:
    if not isinstance(tensor, dict) or tensor.keys() != _FIELDS:
        return f"must have exactly {', '.join(sorted(_FIELDS))}"
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2 or offsets[1] < offsets[0]:
        return "has a shape or offsets that are no sizes"
    bits = _BITS.get(tensor["dtype"]) if isinstance(tensor["dtype"], str) else None
    if bits is None:
        return f"has the unknown type {str(tensor['dtype'])[:80]!r}"
    if math.prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        return f"has {offsets[1] - offsets[0]} bytes, which is not what its type and shape {shape[:8]} need"
    return None


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise ValueError("its header repeats a name")
    return read
