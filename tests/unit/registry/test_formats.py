"""Allowed formats by name and by content: nothing that could run code, nothing that only pretends."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import Manifest, ManifestEntry, scan


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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.npz", npz(table=np.zeros((3, 2), np.float32), names=np.array(["a", "b"]))),
        ("model.safetensors", safetensors(TENSOR | {"__metadata__": {"format": "pt"}}, b"\0" * 8)),
        ("model.json", b'{"a": [1, 2.5, null]}'),
        ("MLmodel", b"flavors: {}\n"),
    ],
)
def test_allowed_formats_pass(check, name, content):
    check(name, content)


def test_what_the_real_libraries_write_passes(check):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    vectors = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    check("weights.safetensors", safetensors_numpy.save({"a": vectors, "b": vectors[:0]}))
    check("empty.npz", npz(a=vectors[:0], b=np.array(7), c=np.array([], dtype=str)))
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros(100_000), b=np.array([(1, 2.0)], dtype="i4,f8"))
    check("compressed.npz", file.getvalue())


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a repeated name
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return file.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npy_of(shape: str, dtype: str = "<f4", data: bytes = b"") -> bytes:
    return npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}", data)


def tensor(**changes: object) -> dict:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


GOOD_NPY = npy_of("(2,)", data=b"\0" * 8)
GOOD_ZIP = zipped(("a.npy", GOOD_NPY))
CENTRAL = GOOD_ZIP.index(b"PK\x01\x02")


def patched(content: bytes, at: int, replacement: bytes) -> bytes:
    return content[:at] + replacement + content[at + len(replacement) :]


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
    "truncated npz": ("model.npz", GOOD_ZIP[:-30], "not readable"),
    "an array twice": ("model.npz", zipped(("a.npy", GOOD_NPY), ("a.npy", GOOD_NPY)), "same name"),
    "a name with an end before its end": (
        "model.npz",
        zipped(("a.npyXpkl", GOOD_NPY)).replace(b"a.npyXpkl", b"a.npy\0pkl"),
        "no array's",
    ),
    "an encrypted member": (
        "model.npz",
        patched(patched(GOOD_ZIP, 6, b"\x01"), CENTRAL + 8, b"\x01"),
        "encrypted",
    ),
    "a foreign compression": (
        "model.npz",
        zipped(("a.npy", GOOD_NPY), compression=zipfile.ZIP_LZMA),
        "compressed by the method 14",
    ),
    "a shape that is not there": ("model.npz", zipped(("a.npy", npy_of("(10**0,)"))), "not readable"),
    "a shape of terabytes": ("model.npz", zipped(("a.npy", npy_of("(1000000000000,)"))), "header says"),
    "values of terabytes": ("model.npz", zipped(("a.npy", npy_of("(1,)", "<U100000000"))), "header says"),
    "countless empty values": ("model.npz", zipped(("a.npy", npy_of("(1000000000,)", "V0"))), "no bytes"),
    "a negative shape": ("model.npz", zipped(("a.npy", npy_of("(-1, -2)", data=b"\0" * 8))), "shape"),
    "more than the array": ("model.npz", zipped(("a.npy", GOOD_NPY + b"more")), "header says"),
    "another checksum": ("model.npz", patched(GOOD_ZIP, CENTRAL - 1, b"\x01"), "not readable"),
    "a declared size that is a lie": (
        "model.npz",
        zipped(("a.npy", npy_of("(2,)", data=b"\0" * 400)), compression=zipfile.ZIP_DEFLATED).replace(
            struct.pack("<I", 528), struct.pack("<I", 136)
        ),
        "not readable",
    ),
    "something before the zip": ("model.npz", pickle.dumps({}) + GOOD_ZIP, "not readable"),
    "a header of nested lists": ("model.npz", zipped(("a.npy", npy("[" * 110))), "not readable"),
    "a name twice in safetensors": (
        "model.safetensors",
        safetensors(tensor() | {"v": tensor()["w"]}, b"\0" * 8).replace(b'"v"', b'"w"'),
        "repeats a name",
    ),
    "a tensor of another size": ("model.safetensors", safetensors(tensor(shape=[3]), b"\0" * 8), "need"),
    "a tensor of another type": ("model.safetensors", safetensors(tensor(dtype="F64"), b"\0" * 8), "need"),
    "an unknown type": ("model.safetensors", safetensors(tensor(dtype="O"), b"\0" * 8), "unknown type"),
    "a type that is a list": ("model.safetensors", safetensors(tensor(dtype=["F32"]), b"\0" * 8), "unknown"),
    "a negative length": ("model.safetensors", safetensors(tensor(shape=[-1, -2]), b"\0" * 8), "no sizes"),
    "a length that is true": (
        "model.safetensors",
        safetensors(tensor(shape=[True, 2]), b"\0" * 8),
        "no sizes",
    ),
    "an offset too many": (
        "model.safetensors",
        safetensors(tensor(data_offsets=[0, 8, 8]), b"\0" * 8),
        "no sizes",
    ),
    "a field too many": ("model.safetensors", safetensors(tensor(file="/etc/passwd"), b"\0" * 8), "exactly"),
    "overlapping tensors": (
        "model.safetensors",
        safetensors(tensor() | {"v": tensor()["w"]}, b"\0" * 8),
        "gap or overlap",
    ),
    "metadata of numbers": (
        "model.safetensors",
        safetensors({"__metadata__": {"a": 1}}, b""),
        "text to text",
    ),
    "a list as header": ("model.safetensors", struct.pack("<Q", 2) + b"[]", "no JSON object"),
    "a key twice in json": ("model.json", b'{"a": 1, "b": [{"c": 1, "c": 2}]}', "repeats a key"),
    "json in UTF-16": ("model.json", '{"a": 1}'.encode("utf-16"), "not readable"),
    "json with a mark": ("model.json", b"\xef\xbb\xbf{}", "not readable"),
    "json of many levels": ("model.json", b"[" * 66 + b"]" * 66, "levels deep"),
    "json of objects in objects": ("model.json", b'{"a":' * 66 + b"1" + b"}" * 66, "levels deep"),
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
    monkeypatch.setattr("streamrec.registry.file_formats.npz_format._MAXIMUM_UNPACKED_BYTES", 1000)
    with pytest.raises(ArtifactError, match="unpacks to more than"):
        check("model.npz", npz(a=np.zeros(1000)))


def test_json_at_the_deepest_that_is_allowed_passes(check):
    check("model.json", b"[" * 65 + b"]" * 65)


def test_an_onnx_model_larger_than_its_format_allows_is_refused_unread(tmp_path):
    (tmp_path / "model.onnx").touch()
    manifest = Manifest((ManifestEntry("model.onnx", 2**31, "0" * 64),))
    with pytest.raises(ArtifactError, match="2 GiB"):
        check_formats(tmp_path, manifest)
