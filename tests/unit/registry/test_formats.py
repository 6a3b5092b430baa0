"""Allowed formats by name and by content: nothing that could run code, nothing that only pretends."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.formats import check_formats
from streamrec.registry.manifest import scan


@pytest.fixture
def check(tmp_path):
    def run(name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        check_formats(tmp_path, scan(tmp_path))

    return run


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def safetensors(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


TENSOR = {"weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


IR_VERSION = b"\x08\x08"
ONNX = IR_VERSION + message(
    7, message(2, b"graph") + message(5, message(8, b"weight") + message(9, b"\0" * 8))
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.npz", npz(table=np.zeros((3, 2), np.float32), names=np.array(["a", "b"]))),
        ("model.safetensors", safetensors(TENSOR | {"__metadata__": {"format": "pt"}}, b"\0" * 8)),
        ("model.onnx", ONNX),
        ("model.json", b'{"a": [1, 2.5, null]}'),
        ("MLmodel", b"flavors: {}\n"),
    ],
)
def test_allowed_formats_pass(check, name, content):
    check(name, content)


def test_what_the_real_libraries_write_passes(check):
    faiss = pytest.importorskip("faiss")
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    vectors = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    flat = faiss.IndexFlatIP(8)
    flat.add(vectors)
    inverted = faiss.index_factory(8, "IVF4,SQ8")
    inverted.train(vectors)
    graph = faiss.index_factory(8, "IDMap,HNSW8")
    for index in (flat, inverted, graph, faiss.index_factory(8, "PCA4,PQ2x4np,RFlat")):
        check("index.faiss", faiss.serialize_index(index).tobytes())
    check("weights.safetensors", safetensors_numpy.save({"a": vectors, "b": vectors[:0]}))


BAD = {
    "pickle by name": ("model.pkl", pickle.dumps({}), "refused"),
    "torch by name": ("model.pt", b"PK\x03\x04", "refused"),
    "python": ("model.py", b"import os", "refused"),
    "no ending": ("model", b"x", "refused"),
    "a raw npy": ("model.npy", b"\x93NUMPY", "refused"),
    "upper case": ("MODEL.NPZ", npz(a=np.zeros(1)), "refused"),
    "objects in npz": ("model.npz", npz(a=np.array([{}], dtype=object)), "pickled objects"),
    "pickle as npz": ("model.npz", pickle.dumps({}), "not readable"),
    "pickle as json": ("model.json", pickle.dumps({}), "not readable"),
    "pickle as safetensors": ("model.safetensors", pickle.dumps({}), "not a safetensors"),
    "pickle as onnx": ("model.onnx", pickle.dumps({"a": 1}), "onnx: not"),
    "pickle as faiss": ("model.faiss", pickle.dumps({"a": "b" * 64}), "not a FAISS"),
    "short safetensors": ("model.safetensors", safetensors(TENSOR, b"\0" * 7), "truncated or extended"),
    "long safetensors": ("model.safetensors", safetensors(TENSOR, b"\0" * 9), "truncated or extended"),
    "gap in safetensors": (
        "model.safetensors",
        safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),
        "gap or overlap",
    ),
    "NaN in json": ("model.json", b"[NaN]", "not JSON"),
    "deep json": ("model.json", b"[" * 200_000, "not readable"),
    "no graph": ("model.onnx", IR_VERSION, "no graph"),
    "truncated onnx": ("model.onnx", ONNX[:-3], "truncated"),
    "weights elsewhere": (
        "model.onnx",
        IR_VERSION + message(7, message(5, message(8, b"w") + message(13, b"../../etc/passwd"))),
        "another file",
    ),
    "yaml objects": ("MLmodel", b"a: !!python/object/apply:os.system ['true']", "YAML tag"),
    "empty npz": ("model.npz", b"", "not readable"),
}


@pytest.mark.parametrize("kind", BAD)
def test_everything_else_is_refused_with_the_file_and_the_reason(check, kind):
    name, content, words = BAD[kind]
    with pytest.raises(ArtifactError, match=words) as raised:
        check(name, content)
    assert name in str(raised.value)


def test_a_zip_with_other_members_is_refused(check):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../evil.npy", npz(a=np.zeros(1)))
    with pytest.raises(ArtifactError, match="evil"):
        check("model.npz", file.getvalue())


def test_a_zip_bomb_is_refused_before_it_is_unpacked(check, monkeypatch):
    monkeypatch.setattr("streamrec.registry.formats._MAXIMUM_UNPACKED_BYTES", 1000)
    with pytest.raises(ArtifactError, match="unpacks to more than"):
        check("model.npz", npz(a=np.zeros(1000)))
