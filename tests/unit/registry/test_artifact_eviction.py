"""The cache's bound: what was not used for the longest time goes, and what is in use stays."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.files.locks import wait_for_shared_lock
from streamrec.registry import artifact_cache
from streamrec.registry.artifact_cache import ArtifactCache
from streamrec.registry.manifest import verify_manifest, write_manifest

HOUR_S = 3600
SIZE_BYTES = 4000


class Artifacts:
    """Four artifacts of a little more than 4,000 bytes, and a cache with room for two."""

    def __init__(self, folder):
        self.folder = folder / "cache"
        self.sources = {}
        for name in "abcd":
            source = folder / name
            source.mkdir()
            np.savez(source / "weights.npz", w=np.full(SIZE_BYTES // 8, ord(name), np.int64))
            self.sources[name] = (source, write_manifest(source))

    def open(self, maximum_bytes=2 * SIZE_BYTES + 2000):
        return ArtifactCache(self.folder, maximum_bytes)

    def fetch(self, cache, name):
        source, digest = self.sources[name]
        return cache.fetch(digest, lambda target: shutil.copytree(source, target, dirs_exist_ok=True))

    def use(self, name, hours_ago):
        """Fetch and let go; as if it was some hours ago."""
        cache = self.open(10**9)
        folder = self.fetch(cache, name)
        cache.keep_only(())
        used_s = folder.stat().st_mtime - hours_ago * HOUR_S
        os.utime(folder, (used_s, used_s))

    def cached(self):
        found = {path.name for path in self.folder.iterdir()}
        named = {name: digest for name, (_, digest) in self.sources.items()}
        assert found <= set(named.values()), found
        return "".join(name for name, digest in named.items() if digest in found)


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path)


def test_what_was_not_used_for_the_longest_time_goes(artifacts):
    artifacts.use("a", hours_ago=2)
    artifacts.use("b", hours_ago=3)
    artifacts.use("c", hours_ago=1)
    artifacts.fetch(artifacts.open(), "d")
    assert artifacts.cached() == "cd"


def test_a_use_without_a_download_counts(artifacts):
    artifacts.use("a", hours_ago=3)
    artifacts.use("b", hours_ago=2)
    cache = artifacts.open()
    artifacts.fetch(cache, "a")
    cache.keep_only(())
    artifacts.fetch(cache, "c")
    assert artifacts.cached() == "ac"


def test_a_download_is_new_however_old_its_original_is(artifacts):
    artifacts.use("a", hours_ago=1)
    os.utime(artifacts.sources["b"][0], (0, 0))
    cache = artifacts.open()
    artifacts.fetch(cache, "b")
    cache.keep_only(())
    artifacts.fetch(cache, "c")
    assert artifacts.cached() == "bc"


def test_what_fits_stays(artifacts):
    artifacts.use("a", hours_ago=900)
    artifacts.fetch(artifacts.open(), "b")
    assert artifacts.cached() == "ab"


def test_what_another_uses_stays_though_the_cache_is_too_large(artifacts, caplog):
    other = artifacts.open()
    for name in "abc":
        artifacts.fetch(other, name)
    assert artifacts.cached() == "abc"
    assert "in use" in caplog.text
    artifacts.fetch(artifacts.open(), "d")
    assert artifacts.cached() == "abcd"


def test_what_is_let_go_of_may_go_and_the_rest_stays(artifacts):
    holder = artifacts.open(10**9)
    for name in "abc":
        artifacts.fetch(holder, name)
    holder.keep_only({artifacts.sources["a"][1]})
    artifacts.fetch(artifacts.open(), "d")
    assert artifacts.cached() == "ad"


def test_an_artifact_that_is_larger_than_the_bound_is_fetched_and_usable(artifacts):
    artifacts.use("a", hours_ago=1)
    folder = artifacts.fetch(artifacts.open(1), "b")
    assert artifacts.cached() == "b"
    with np.load(folder / "weights.npz") as arrays:
        assert arrays["w"][0] == ord("b")


def test_what_was_evicted_is_fetched_again(artifacts):
    artifacts.use("a", hours_ago=1)
    cache = artifacts.open(1)
    artifacts.fetch(cache, "b")
    cache.keep_only(())
    assert (artifacts.fetch(cache, "a") / "weights.npz").is_file()
    assert artifacts.cached() == "a"


def test_a_folder_that_cannot_be_removed_fails_no_fetch(artifacts, monkeypatch, caplog):
    artifacts.use("a", hours_ago=1)

    def refused(_self, _path):
        raise PermissionError("not yours")

    monkeypatch.setattr(ArtifactCache, "_take_unused", refused)
    assert artifacts.fetch(artifacts.open(1), "b").is_dir()
    assert "not yours" in caplog.text


def test_a_download_that_is_under_way_is_never_taken_for_abandoned(artifacts):
    source, digest = artifacts.sources["a"]
    slow = artifacts.open()

    def takes_hours(target):
        shutil.copytree(source, target, dirs_exist_ok=True)
        os.utime(target, (0, 0))
        artifacts.fetch(artifacts.open(), "b")

    assert (slow.fetch(digest, takes_hours) / "weights.npz").is_file()
    assert artifacts.cached() == "ab"


def test_a_damaged_folder_that_another_holds_is_replaced_and_the_new_one_kept(artifacts):
    holder = artifacts.open()
    folder = artifacts.fetch(holder, "a")
    (folder / "weights.npz").chmod(0o644)
    (folder / "weights.npz").write_bytes(b"damaged")
    mended = artifacts.fetch(artifacts.open(), "a")
    assert mended == folder
    assert artifacts.fetch(holder, "a") == folder
    assert artifacts.cached() == "a"


def test_what_another_mended_meanwhile_is_not_set_aside(artifacts, monkeypatch):
    first, second = artifacts.open(), artifacts.open()
    folder = artifacts.fetch(first, "a")
    (folder / "weights.npz").chmod(0o644)
    (folder / "weights.npz").write_bytes(b"damaged")
    mended = []

    def slow(checked, digest):
        try:
            return verify_manifest(checked, digest)
        except ArtifactError:
            if not mended:
                mended.append(None)
                artifacts.fetch(first, "a")
                mended[0] = folder.stat().st_ino
            raise

    monkeypatch.setattr(artifact_cache, "verify_manifest", slow)
    artifacts.fetch(second, "a")
    assert mended == [folder.stat().st_ino]


def test_a_folder_that_is_evicted_before_it_can_be_locked_is_fetched_again(artifacts, monkeypatch, caplog):
    artifacts.use("a", hours_ago=1)
    folder = artifacts.folder / artifacts.sources["a"][1]
    waits = []

    def late(descriptor):
        waits.append(descriptor)
        if len(waits) == 1:
            shutil.rmtree(folder)
        wait_for_shared_lock(descriptor)

    monkeypatch.setattr(artifact_cache, "wait_for_shared_lock", late)
    assert (artifacts.fetch(artifacts.open(), "a") / "weights.npz").is_file()
    assert "damaged" not in caplog.text
    assert len(waits) == 2


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_must_be_positive(tmp_path, bound):
    with pytest.raises(InvalidInputError, match="1 or more"):
        ArtifactCache(tmp_path, bound)
