"""Every store of a document keeps the same promises."""

from __future__ import annotations

import os
import threading

import pytest

from streamrec.contracts.errors import ConflictError, DependencyError, OverloadedError
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.memory_store import MemoryDocumentStore
from streamrec.documents.store import NoContent
from streamrec.files.locks import only_writer_of

LIMIT = 100


@pytest.fixture
def path(tmp_path):
    return tmp_path / "below" / "document.json"


@pytest.fixture(params=["memory", "file"])
def store(request, path):
    return MemoryDocumentStore() if request.param == "memory" else FileDocumentStore(path)


def test_nothing_is_there_at_first(store):
    assert store.read(LIMIT) is NoContent.MISSING
    assert store.read(LIMIT, "some tag") is NoContent.MISSING


def test_what_was_put_there_is_read_whole(store):
    store.replace(b"first", None)
    assert store.read(LIMIT).content == b"first"


def test_a_known_version_is_not_read_again(store):
    store.replace(b"first", None)
    tag = store.read(LIMIT).tag
    assert store.read(LIMIT, tag) is NoContent.UNCHANGED
    store.replace(b"other", tag)
    read = store.read(LIMIT, tag)
    assert read.content == b"other"
    assert read.tag != tag


def test_only_the_expected_version_is_replaced(store):
    store.replace(b"first", None)
    first = store.read(LIMIT).tag
    with pytest.raises(ConflictError):
        store.replace(b"late", None)
    store.replace(b"second", first)
    for late in (first, "no such tag", None):
        with pytest.raises(ConflictError):
            store.replace(b"late", late)
    assert store.read(LIMIT).content == b"second"


def test_no_tag_comes_twice_although_sizes_are_equal_and_publications_fast(store):
    tags, tag = [], None
    for number in range(200):
        store.replace(b"%03d" % number, tag)
        tag = store.read(LIMIT).tag
        tags.append(tag)
    assert len(set(tags)) == 200


def test_a_long_document_is_read_up_to_one_byte_more_than_allowed(store):
    store.replace(b"x" * 10_000, None)
    assert store.read(LIMIT).content == b"x" * (LIMIT + 1)


def test_of_many_threads_that_expect_the_same_version_one_wins(store):
    tag, winners = None, []
    for number in range(20):
        barrier, won = threading.Barrier(4), []

        def publish(name, tag=tag, barrier=barrier, won=won, number=number):
            barrier.wait(10.0)
            try:
                store.replace(b"%d-%d" % (number, name), tag)
            except ConflictError:
                return
            won.append(name)

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.read(LIMIT).content == b"%d-%d" % (number, won[0])
        tag = store.read(LIMIT).tag
        winners += won
    assert len(winners) == 20


def test_a_file_changed_by_hand_is_a_new_version(path):
    store = FileDocumentStore(path)
    store.replace(b"first", None)
    tag = store.read(LIMIT).tag
    path.write_bytes(b"by hand")
    assert store.read(LIMIT, tag).content == b"by hand"
    with pytest.raises(ConflictError):
        store.replace(b"second", tag)


def test_a_folder_holds_the_document_and_its_lock_and_nothing_else(path):
    store = FileDocumentStore(path)
    path.parent.mkdir()
    (path.parent / f"{path.name}.temporary").write_bytes(b"left behind by a process that was killed")
    store.replace(b"first", None)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_a_file_that_is_removed_is_missing(path):
    store = FileDocumentStore(path)
    store.replace(b"first", None)
    tag = store.read(LIMIT).tag
    path.unlink()
    assert store.read(LIMIT, tag) is NoContent.MISSING
    with pytest.raises(ConflictError):
        store.replace(b"second", tag)
    store.replace(b"second", None)


def test_what_is_no_regular_file_is_refused_without_waiting(path):
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(DependencyError, match="not a regular file"):
        FileDocumentStore(path).read(LIMIT)


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = FileDocumentStore(tmp_path / "file" / "document.json")
    with pytest.raises(DependencyError, match="cannot be read"):
        store.read(LIMIT)
    with pytest.raises(DependencyError, match="cannot be written"):
        store.replace(b"first", None)


def test_a_disk_that_fails_leaves_the_old_version(path, monkeypatch):
    store = FileDocumentStore(path)
    store.replace(b"first", None)
    stored = store.read(LIMIT)

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(DependencyError, match="No space left"):
            store.replace(b"second", stored.tag)
    assert store.read(LIMIT) == stored
    store.replace(b"second", stored.tag)


def test_a_lock_that_is_held_too_long_is_a_temporary_error(path, monkeypatch):
    monkeypatch.setattr("streamrec.files.locks._WRITER_TIMEOUT_S", 0.05)
    path.parent.mkdir()
    with only_writer_of(path), pytest.raises(OverloadedError, match="another process"):
        FileDocumentStore(path).replace(b"first", None)
    FileDocumentStore(path).replace(b"first", None)
