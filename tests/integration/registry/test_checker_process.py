"""Untrusted ONNX and FAISS files, read by their libraries in their own process, which may fail in any way."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.registry.file_formats import checker_process
from streamrec.registry.file_formats.formats import check_formats
from streamrec.registry.manifest import scan

VECTORS = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)


@pytest.fixture
def check(tmp_path):
    def run(name, content):
        folder = tmp_path / "artifact"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        check_formats(folder, scan(folder))

    return run


def relu(**outside):
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    floats = onnx.TensorProto.FLOAT
    tensor = onnx.TensorProto(name="w", data_type=floats, dims=[1], raw_data=b"\0" * 4)
    for key, location in outside.items():
        tensor.external_data.add(key=key, value=location)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [onnx.helper.make_tensor_value_info("x", floats, [None, 2])],
        [onnx.helper.make_tensor_value_info("y", floats, [None, 2])],
        initializer=[tensor],
    )
    opsets = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def index_of(description):
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(8, description)
    index.train(VECTORS)
    index.add_with_ids(VECTORS, np.arange(len(VECTORS))) if "IDMap" in description else index.add(VECTORS)
    return faiss, index


def test_a_model_passes_and_one_with_weights_elsewhere_is_refused_by_name(check):
    check("model.onnx", relu())
    with pytest.raises(ArtifactError, match=r"model\.onnx: Tensor 'w' lives in another file"):
        check("model.onnx", relu(location="/etc/passwd"))


@pytest.mark.parametrize("description", ["Flat", "IVF4,SQ8", "IDMap,HNSW8", "PCA4,PQ2x4np,RFlat"])
def test_an_index_passes_and_a_cut_or_longer_one_is_refused(check, description):
    faiss, index = index_of(description)
    content = faiss.serialize_index(index).tobytes()
    check("index.faiss", content)
    with pytest.raises(ArtifactError, match="damaged"):
        check("index.faiss", content[:-5])
    with pytest.raises(ArtifactError, match="longer than the index"):
        check("index.faiss", content + b"more")


def test_an_index_whose_vectors_lie_in_another_file_is_refused_though_the_file_is_there(check, tmp_path):
    faiss, index = index_of("IVF4,Flat")
    lists = faiss.OnDiskInvertedLists(4, index.code_size, str(tmp_path / "lists"))
    parts = faiss.InvertedListsPtrVector()
    parts.push_back(index.invlists)
    count = lists.merge_from_multiple(parts.data(), parts.size())
    index.replace_invlists(lists)
    index.ntotal = count
    content = faiss.serialize_index(index).tobytes()
    assert faiss.deserialize_index(np.frombuffer(content, np.uint8)).ntotal == len(VECTORS)
    with pytest.raises(ArtifactError, match=r"OnDiskInvertedLists.*Too many open files"):
        check("index.faiss", content)


def test_a_small_file_that_would_fill_the_memory_is_refused(check):
    relu()
    nodes = b"\x0a\x00" * 20_000_000  # each becomes a node of a hundred bytes
    length = b"\x80\xb4\x89\x13"  # 40,000,000
    with pytest.raises(ArtifactError, match=r"Arena alloc failed|more than \d+ bytes of memory"):
        check("model.onnx", b"\x3a" + length + nodes)


def test_without_the_package_the_file_is_refused_and_the_message_says_what_to_install(check, monkeypatch):
    content = relu()
    bare = Path(getattr(sys, "_base_executable", sys.executable))
    if bare.resolve().parent == Path(sys.prefix) / "bin":
        pytest.skip("there is no interpreter without the package")
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(ArtifactError, match=r"onnx is not installed here: install streamrec\[onnx\]"):
        check("model.onnx", content)


PROGRAMS = {
    "hangs": ("import time; time.sleep(60)", "did not end within"),
    "computes for ever": (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
        "exit status -9|took more than",
    ),
    "crashes": ("import os; os.abort()", "exit status -6"),
    "says nothing": ("", "no answer"),
    "says something else": ("print('[]')", "no answer"),
    "raises": ("raise SystemExit(3)", "exit status 3"),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_check_that_does_not_come_to_its_end_refuses_the_file(check, monkeypatch, tmp_path, kind):
    source, words = PROGRAMS[kind]
    program = tmp_path / "program.py"
    program.write_text(source)
    monkeypatch.setattr(checker_process, "_PROGRAM", program)
    if kind == "hangs":
        monkeypatch.setattr(checker_process, "_WALL_S_PER_CPU_S", 0.005)
    with pytest.raises(ArtifactError, match=words):
        check("model.onnx", b"content")


def test_the_process_sees_nothing_of_the_environment(check, monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import json, os; print(json.dumps({'problem': ' '.join(sorted(os.environ))}))")
    monkeypatch.setattr(checker_process, "_PROGRAM", program)
    monkeypatch.setenv("A_SECRET", "1")
    with pytest.raises(ArtifactError, match="OMP_NUM_THREADS OPENBLAS_NUM_THREADS") as raised:
        check("model.onnx", b"content")
    assert "A_SECRET" not in str(raised.value)
