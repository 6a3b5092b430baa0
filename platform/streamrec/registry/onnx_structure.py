"""Just enough of the protobuf wire format to tell an ONNX model from something else.

Field numbers: onnx.proto3 (ModelProto, GraphProto, TensorProto). Tensors that live in another file are
refused: such a reference is a path, and a path can point anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_MODEL_IR_VERSION: Final = 1
_MODEL_GRAPH: Final = 7
_GRAPH_INITIALIZER: Final = 5
_TENSOR_EXTERNAL_DATA: Final = 13

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2
_FIXED32: Final = 5


def check_onnx(content: bytes) -> str | None:
    """Return what is wrong with an ONNX file, or None.

    Raises:
        ValueError: It is not a protobuf message at all.
    """
    view = memoryview(content)
    graph: memoryview | None = None
    has_ir_version = False
    for number, wire_type, payload in _fields(view):
        has_ir_version |= number == _MODEL_IR_VERSION and wire_type == _VARINT
        if number == _MODEL_GRAPH and wire_type == _LENGTH_DELIMITED:
            graph = payload
    if graph is None or not has_ir_version:
        return "not an ONNX model: no graph or no IR version"
    for number, wire_type, tensor in _fields(graph):
        if number == _GRAPH_INITIALIZER and wire_type == _LENGTH_DELIMITED:
            for tensor_field, _, _ in _fields(tensor):
                if tensor_field == _TENSOR_EXTERNAL_DATA:
                    return "a tensor lives in another file; save the model with its weights inside"
    return None


def _fields(view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield field number, wire type and payload of every field of a message."""
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
        number, wire_type = key >> 3, key & 7
        start = position
        if wire_type == _VARINT:
            _, position = _varint(view, position)
        elif wire_type == _FIXED64:
            position += 8
        elif wire_type == _FIXED32:
            position += 4
        elif wire_type == _LENGTH_DELIMITED:
            length, start = _varint(view, position)
            position = start + length
        else:
            raise ValueError(f"wire type {wire_type} does not exist")
        if number == 0 or position > len(view):
            raise ValueError("a field number is zero, or the file is truncated")
        yield number, wire_type, view[start:position]


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise ValueError("the file is truncated")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is longer than ten bytes")
