"""Publishing a folder: the whole old or the whole new, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets import folders
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.folders import replaced_folder
from streamrec.datasets.writer import INTERACTIONS_SCHEMA, ITEMS_SCHEMA, dataset_writer

OWNED = frozenset({"a", "b"})


def publish(target: Path, content: str) -> None:
    with replaced_folder(target, OWNED) as folder:
        (folder / "a").write_text(content)
        (folder / "b").write_text(content)


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path):
    publish(tmp_path / "out", "old")

    def fail() -> None:
        with replaced_folder(tmp_path / "out", OWNED) as folder:
            (folder / "a").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_an_exchange_two_renames_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    publish(tmp_path / "out", "old")
    publish(tmp_path / "out", "new")
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_killed_writer_changes_nothing_and_the_next_one_cleans_up(tmp_path: Path):
    publish(tmp_path / "out", "old")
    program = (
        "import sys, time; from pathlib import Path\n"
        "from streamrec.datasets.folders import replaced_folder\n"
        "with replaced_folder(Path(sys.argv[1]), {'a', 'b'}) as folder:\n"
        "    (folder / 'a').write_text('new'); print('writing', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(folders.__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "out")], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        publish(tmp_path / "out", "other")  # a second writer leaves the living one alone
        assert len(list(tmp_path.iterdir())) == 2
        writer.send_signal(signal.SIGKILL)
    assert (tmp_path / "out" / "a").read_text() == "other"
    publish(tmp_path / "out", "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_target_must_be_a_folder_of_ours(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataFolderError, match="not a folder"):
        publish(tmp_path / "file", "x")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "mine").touch()
    with pytest.raises(DataFolderError, match="mine"):
        publish(tmp_path / "dir", "x")


def test_a_reader_never_mixes_two_folders(tmp_path: Path):
    def write(version: int) -> None:
        rows = 50 + version % 2
        ids = [f"{version % 2}-{row}" for row in range(rows)]
        items = pa.table(
            [ids, ids, ids, ids, [[]] * rows, [None] * rows],
            schema=ITEMS_SCHEMA,
        )
        times = pa.array([1_000_000] * rows).cast(INTERACTIONS_SCHEMA.field("timestamp").type)
        with dataset_writer(tmp_path / "data") as writer:
            writer.write_items(items)
            writer.append_interactions(pa.table([ids, ids, times], schema=INTERACTIONS_SCHEMA))

    write(0)
    fingerprints = {load_dataset(tmp_path / "data").fingerprint}
    write(1)
    fingerprints.add(load_dataset(tmp_path / "data").fingerprint)
    done = threading.Event()

    def rewrite() -> None:
        for version in range(40):
            write(version)
            time.sleep(0.05)  # as fast as a reader can read, not faster
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    reads = 0
    while not done.is_set() or reads < 3:
        try:
            dataset = load_dataset(tmp_path / "data")  # raises where interactions name items of the other one
        except DataFolderError as error:
            if "replaced again and again" not in str(error):  # what a reader slower than the writer is told
                raise
            continue
        assert dataset.fingerprint in fingerprints
        reads += 1
    writer.join()
