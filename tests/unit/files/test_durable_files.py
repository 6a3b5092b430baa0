from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamrec.files import durable_files


@pytest.fixture
def synced(monkeypatch):
    """Paths that were flushed to the disk, in order."""
    paths = []
    fsync = os.fsync

    def noted(descriptor):
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_a_replaced_file_is_on_the_disk_before_it_has_its_name(tmp_path, synced):
    path = tmp_path / "document.json"
    path.write_bytes(b"old")
    durable_files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert synced == [f"{path}.temporary", str(tmp_path)]
    assert [file.name for file in tmp_path.iterdir()] == ["document.json"]


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "document.json"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable_files, "fsync_file", full)
    with pytest.raises(OSError, match="No space left"):
        durable_files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_what_a_library_has_written_replaces_a_file(tmp_path, synced):
    path, written = tmp_path / "table", tmp_path / "table.partial"
    path.write_bytes(b"old")
    written.write_bytes(b"new")
    durable_files.replace_with(path, written)
    assert path.read_bytes() == b"new"
    assert not written.exists()
    assert synced == [str(written), str(tmp_path)]


def test_folders_are_made_from_the_top_and_each_is_on_the_disk(tmp_path, synced):
    durable_files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    durable_files.make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_a_tree_is_flushed_with_every_file_and_folder_and_its_root_last(tmp_path, synced):
    (tmp_path / "root" / "below").mkdir(parents=True)
    for name in ("one", "below/two"):
        (tmp_path / "root" / name).write_text("x")
    durable_files.fsync_tree(tmp_path / "root")
    root = tmp_path / "root"
    assert set(synced) == {str(path) for path in (root, root / "one", root / "below", root / "below" / "two")}
    assert synced[-1] == str(tmp_path / "root")


def test_removing_what_is_not_there_is_no_error(tmp_path):
    durable_files.remove(tmp_path / "gone")
