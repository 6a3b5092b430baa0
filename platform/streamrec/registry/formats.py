"""Which files an artifact may hold. Every format here can be read without running code from the file."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from numpy.lib import format as npy_format

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.manifest import Manifest
from streamrec.registry.onnx_structure import check_onnx

MLMODEL_FILE: Final = "MLmodel"
"""MLflow's description of a model; written by the registry adapter, never by training."""

_MAXIMUM_TEXT_BYTES: Final = 256 * 1024 * 1024
_MAXIMUM_PROSE_BYTES: Final = 1024 * 1024
_MAXIMUM_UNPACKED_BYTES: Final = 16 * 1024**3
_MAXIMUM_SAFETENSORS_HEADER_BYTES: Final = 100_000_000
"""The limit of the format's reference implementation."""


def check_formats(folder: Path, manifest: Manifest) -> None:
    """Check that every file of an artifact is of an allowed format, by name and by content.

    Raises:
        ArtifactError: A file's ending is not allowed, or its content is not what the ending says; pickled
            objects are refused wherever they hide.
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
    except (ValueError, KeyError, TypeError, EOFError, RecursionError, OSError, zipfile.BadZipFile) as error:
        return f"not readable as its format ({error})"


def _check_safetensors(file: BinaryIO, size_bytes: int) -> str | None:
    """Read the header: 8 bytes of little-endian length, then JSON, then exactly the tensors' bytes."""
    prefix = file.read(8)
    header_bytes = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or header_bytes > min(size_bytes - 8, _MAXIMUM_SAFETENSORS_HEADER_BYTES):
        return "not a safetensors file, or truncated"
    header: dict[str, Any] = json.loads(file.read(header_bytes))
    header.pop("__metadata__", None)
    offsets = sorted(tuple(tensor["data_offsets"]) for tensor in header.values())
    position = 0
    for begin, end in offsets:
        if begin != position or end < begin:
            return "the tensors' offsets leave a gap or overlap"
        position = end
    if 8 + header_bytes + position != size_bytes:
        return "the file's size does not match its header: truncated or extended"
    return None


def _check_npz(file: BinaryIO, _size_bytes: int) -> str | None:
    """Read every member's header; an array of objects is a pickle and is refused."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if not members:
            return "holds no arrays"
        if sum(member.file_size for member in members) > _MAXIMUM_UNPACKED_BYTES:
            return f"unpacks to more than {_MAXIMUM_UNPACKED_BYTES} bytes"
        for member in members:
            if not member.filename.endswith(".npy") or "/" in member.filename:
                return f"the member {member.filename!r} is not an array"
            with archive.open(member) as content:
                version = npy_format.read_magic(content)
                if version == (1, 0):
                    _, _, dtype = npy_format.read_array_header_1_0(content)
                elif version == (2, 0):
                    _, _, dtype = npy_format.read_array_header_2_0(content)
                else:
                    return f"the array {member.filename!r} is of format {version}; save it as 1.0 or 2.0"
            if dtype.hasobject:
                return f"the array {member.filename!r} holds pickled objects"
    return None


def _check_json(file: BinaryIO, size_bytes: int) -> str | None:
    if size_bytes > _MAXIMUM_TEXT_BYTES:
        return f"larger than {_MAXIMUM_TEXT_BYTES} bytes"
    json.load(file, parse_constant=_refuse_constant)
    return None


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
    """Check the four letters that name the kind of index; FAISS checks the rest when it loads the file."""
    kind = file.read(4)
    if size_bytes < 32 or len(kind) < 4 or not kind.startswith(b"I") or not kind.isalnum():
        return "not a FAISS index"
    return None


def _check_onnx(file: BinaryIO, size_bytes: int) -> str | None:
    file.seek(0, os.SEEK_SET)
    return check_onnx(file.read(size_bytes))


def _check_mlmodel(file: BinaryIO, size_bytes: int) -> str | None:
    if size_bytes > 1024 * 1024:
        return "larger than 1 MiB"
    text = file.read().decode("utf-8")
    return "holds a YAML tag that constructs objects" if "!!" in text else None


_CHECKS: Final[Mapping[str, Callable[[BinaryIO, int], str | None]]] = MappingProxyType(
    {
        ".safetensors": _check_safetensors,
        ".npz": _check_npz,
        ".json": _check_json,
        ".md": _check_prose,
        ".faiss": _check_faiss,
        ".onnx": _check_onnx,
    }
)
