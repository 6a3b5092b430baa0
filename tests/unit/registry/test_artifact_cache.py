"""The cache of artifacts: whole or not at all, and never in the way of another process."""

from __future__ import annotations

import os
import threading
import time

import pytest

from streamrec.contracts.errors import ArtifactError, DependencyError
from streamrec.registry.artifact_cache import ArtifactCache
from streamrec.registry.manifest import MANIFEST_FILE, write_manifest


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.json").write_text("[1]")
    return folder, write_manifest(folder)


def copier(source):
    def download(target):
        for name in ("model.json", MANIFEST_FILE):
            (target / name).write_bytes((source / name).read_bytes())

    return download


def refuse(_target):
    raise AssertionError("downloaded again")


def test_an_artifact_is_downloaded_once(tmp_path, artifact):
    source, digest = artifact
    cache = ArtifactCache(tmp_path / "cache")
    folder = cache.fetch(digest, copier(source))
    assert cache.fetch(digest, refuse) == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [digest]


def test_a_download_that_does_not_verify_is_refused_and_leaves_nothing(tmp_path, artifact):
    source, digest = artifact

    def tampered(target):
        copier(source)(target)
        (target / "model.json").write_text("[2]")

    cache = ArtifactCache(tmp_path / "cache")
    with pytest.raises(ArtifactError, match="differs"):
        cache.fetch(digest, tampered)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_genuine_manifest_does_not_make_a_refused_format_welcome(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.pkl").write_bytes(b"\x80")
    digest = write_manifest(source)

    def download(target):
        for path in source.iterdir():
            (target / path.name).write_bytes(path.read_bytes())

    with pytest.raises(ArtifactError, match="refused"):
        ArtifactCache(tmp_path / "cache").fetch(digest, download)


def test_a_failing_download_leaves_nothing(tmp_path, artifact):
    _, digest = artifact

    def fail(_target):
        raise DependencyError("the server is down")

    cache = ArtifactCache(tmp_path / "cache")
    with pytest.raises(DependencyError, match="server"):
        cache.fetch(digest, fail)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_dependency_error(tmp_path, artifact):
    source, digest = artifact
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DependencyError, match="cannot be written"):
        ArtifactCache(tmp_path / "cache").fetch(digest, copier(source))


@pytest.mark.parametrize("digest", ["", "..", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_digest_that_is_none_is_refused(tmp_path, digest):
    with pytest.raises(ArtifactError, match="SHA-256"):
        ArtifactCache(tmp_path).fetch(digest, refuse)


def test_many_at_once_get_the_same_whole_folder(tmp_path, artifact):
    source, digest = artifact
    begin = threading.Barrier(6)
    answers = []

    def slow(target):
        copier(source)(target)
        time.sleep(0.02)

    def work():
        begin.wait()
        folder = ArtifactCache(tmp_path / "cache").fetch(digest, slow)
        answers.append((folder, (folder / "model.json").read_text()))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [(tmp_path / "cache" / digest, "[1]")] * 6
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [digest]


def test_downloads_that_were_cut_off_are_removed_after_an_hour(tmp_path, artifact):
    source, digest = artifact
    cache = tmp_path / "cache"
    for name in ("incoming-old", "incoming-new"):
        (cache / name).mkdir(parents=True)
    long_ago = time.time() - 7200
    os.utime(cache / "incoming-old", (long_ago, long_ago))

    ArtifactCache(cache).fetch(digest, copier(source))

    assert sorted(path.name for path in cache.iterdir()) == sorted([digest, "incoming-new"])
