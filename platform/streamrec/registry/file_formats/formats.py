"""Which files an artifact may hold. Every format here can be read without running code from the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.file_formats.checker_process import problem_in_own_process
from streamrec.registry.file_formats.mlmodel_format import mlmodel_problem
from streamrec.registry.file_formats.npz_format import npz_problem
from streamrec.registry.file_formats.safetensors_format import safetensors_problem
from streamrec.registry.manifest import Manifest

MLMODEL_FILE: Final = "MLmodel"
"""MLflow's description of a model; written by the registry adapter, never by training."""

_MAXIMUM_JSON_BYTES: Final = 64 * 1024 * 1024
"""Read, it can take twenty times as much memory; long tables belong into npz."""

_MAXIMUM_JSON_DEPTH: Final = 64
_MAXIMUM_PROSE_BYTES: Final = 1024 * 1024
_MAXIMUM_ONNX_BYTES: Final = 2**31 - 1
"""What a protobuf message can be at most."""


def check_formats(folder: Path, manifest: Manifest) -> None:
    """Check that every file of an artifact is of an allowed format, by name and by content.

    Raises:
        ArtifactError: A file's ending is not allowed, or its content is not what the ending says, or the
            check could not be made; pickled objects are refused wherever they hide.
    """
    for entry in manifest.entries:
        path = folder / entry.path
        check = _CHECKS.get(path.suffix) if path.name != MLMODEL_FILE else _check_mlmodel
        if check is None:
            raise ArtifactError(
                f"{entry.path}: files ending in {path.suffix or 'nothing'!r} are refused; "
                f"allowed are {', '.join(sorted(_CHECKS))}. Pickled code is never accepted"
            )
        with path.open("rb") as file:
            problem = _problem(check, file, entry.size_bytes)
        if problem is not None:
            raise ArtifactError(f"{entry.path}: {problem}")


def _problem(check: Callable[[BinaryIO, int], str | None], file: BinaryIO, size_bytes: int) -> str | None:
    try:
        return check(file, size_bytes)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises on hostile bytes, the file is refused
        return f"not readable as its format ({type(error).__name__}: {' '.join(str(error).split())[:300]})"


def _check_json(file: BinaryIO, size_bytes: int) -> str | None:
    if size_bytes > _MAXIMUM_JSON_BYTES:
        return f"larger than {_MAXIMUM_JSON_BYTES} bytes"
    # Decoded here: the reader would guess at other encodings, and those who load the file do not.
    text = file.read().decode("utf-8")
    document = json.loads(text, object_pairs_hook=_object_of_distinct_keys, parse_constant=_refuse_constant)
    return _depth_problem(document)


def _depth_problem(document: Any) -> str | None:
    level = [document]
    for _ in range(_MAXIMUM_JSON_DEPTH + 1):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return None
    return f"nested more than {_MAXIMUM_JSON_DEPTH} levels deep"


def _object_of_distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise ValueError("it repeats a key in one object")
    return read


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_prose(file: BinaryIO, size_bytes: int) -> str | None:
    """Text for people: UTF-8, and nothing in it that a terminal would obey."""
    if size_bytes > _MAXIMUM_PROSE_BYTES:
        return f"larger than {_MAXIMUM_PROSE_BYTES} bytes"
    text = file.read().decode("utf-8")
    refused = next((letter for letter in text if not letter.isprintable() and letter != "\n"), None)
    return None if refused is None else f"holds the character {refused!r}; only printable ones are allowed"


def _check_faiss(file: BinaryIO, size_bytes: int) -> str | None:
    """Check the four letters that name the kind of index, then let FAISS read it."""
    kind = file.read(4)
    if size_bytes < 32 or len(kind) < 4 or not kind.startswith(b"I") or not kind.isalnum():
        return "not a FAISS index"
    return problem_in_own_process("faiss", file, size_bytes)


def _check_onnx(file: BinaryIO, size_bytes: int) -> str | None:
    if size_bytes > _MAXIMUM_ONNX_BYTES:
        return f"larger than {_MAXIMUM_ONNX_BYTES} bytes (2 GiB), the most that a protobuf message can be"
    return problem_in_own_process("onnx", file, size_bytes)


def _check_mlmodel(file: BinaryIO, size_bytes: int) -> str | None:
    return "larger than 1 MiB" if size_bytes > _MAXIMUM_PROSE_BYTES else mlmodel_problem(file.read())


_CHECKS: Final[Mapping[str, Callable[[BinaryIO, int], str | None]]] = MappingProxyType(
    {
        ".safetensors": safetensors_problem,
        ".npz": npz_problem,
        ".json": _check_json,
        ".md": _check_prose,
        ".faiss": _check_faiss,
        ".onnx": _check_onnx,
    }
)
