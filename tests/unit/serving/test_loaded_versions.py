from __future__ import annotations

import itertools
import json
import threading

import pytest

from streamrec.contracts.errors import ArtifactError, DependencyError, NotReadyError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.serving.loaded_versions import LoadedVersions

SIGNATURE = ModelSignature((TensorSpec("x", "float32", (-1,)),), (TensorSpec("y", "float32", (-1,)),))


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(tmp_path):
    return MemoryModelRegistry(tmp_path / "cache")


@pytest.fixture
def register(registry, tmp_path):
    def run(content, *, name="ranking", **changes):
        folder = tmp_path / f"artifact-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps(content))
        return registry.register(ModelSpec(name, SIGNATURE, "d", "s", **changes), folder).ref

    return run


def load(fetched):
    content = json.loads((fetched.folder / "model.json").read_text())
    if content == "cannot be loaded":
        raise ValueError("wrong shape")
    return content


def warm_up(model):
    if model == "cannot answer":
        raise RuntimeError("NaN in the answer")


@pytest.fixture
def versions(registry, clock):
    return LoadedVersions(registry, load, warm_up=warm_up, retire_after_s=30.0, clock=clock)


def test_versions_are_loaded_beside_each_other_and_the_unwanted_goes_later(versions, register, clock):
    first, second = register("one"), register("two")
    assert versions.keep([first])
    held = versions.get(first)
    assert versions.keep([second])
    # Requests that began under the first still ask for it.
    assert versions.get(first) is held
    assert versions.get(second).model == "two"
    clock.now_s = 29.0
    versions.keep([second])
    assert versions.refs == (first, second)
    clock.now_s = 30.0
    versions.keep([second])
    assert versions.refs == (second,)
    with pytest.raises(NotReadyError, match="ranking@1 is not loaded"):
        versions.get(first)


def test_one_that_is_wanted_again_in_time_stays(versions, register, clock):
    first, second = register("one"), register("two")
    versions.keep([first])
    versions.keep([second])
    clock.now_s = 20.0
    versions.keep([first, second])
    clock.now_s = 49.0
    versions.keep([second])
    assert versions.refs == (first, second)


@pytest.mark.parametrize("content", ["cannot be loaded", "cannot answer"])
def test_a_version_that_fails_leaves_the_others_and_says_why(versions, register, content):
    good = register("one")
    versions.keep([good])
    bad = register(content)
    assert not versions.keep([good, bad])
    assert versions.get(good).model == "one"
    with pytest.raises(NotReadyError, match=r"ranking@2 is not loaded: (wrong shape|NaN in the answer)"):
        versions.get(bad)
    assert "ranking@2" in versions.problem
    # Nobody wants it any more: nothing is missing.
    assert versions.keep([good])
    assert versions.problem == ""


@pytest.mark.parametrize("method", ["fetch", "get"])
@pytest.mark.parametrize("error", [DependencyError("down"), ArtifactError("a flipped byte")])
def test_a_source_that_fails_is_asked_again_less_and_less_often(
    versions, registry, register, monkeypatch, clock, method, error
):
    ref, asked = register("one"), []

    def fail(*_arguments):
        asked.append(clock.now_s)
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(registry, method, fail)
        for second in range(100):
            clock.now_s = float(second)
            assert not versions.keep([ref])
    assert asked == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0]
    clock.now_s = 121.0
    assert versions.keep([ref])
    assert versions.problem == ""


def test_the_loader_gets_the_artifacts_that_the_version_depends_on(registry, register):
    base = register("base", name="retrieval")
    register("later", name="retrieval")
    child = register("child", name="cold-start", depends_on={"retrieval": base})
    versions = LoadedVersions(
        registry,
        lambda fetched: (load(fetched), load(fetched.dependencies["retrieval"])),
        warm_up=lambda _: None,
    )
    versions.keep([child])
    assert versions.get(child).model == ("child", "base")


def test_readers_never_wait_for_a_version_that_is_being_loaded(registry, register):
    first, second = register("one"), register("two")
    loading, go_on = threading.Event(), threading.Event()

    def slow_load(fetched):
        content = load(fetched)
        if content == "two":
            loading.set()
            assert go_on.wait(10.0)
        return content

    versions = LoadedVersions(registry, slow_load, warm_up=warm_up)
    versions.keep([first])
    loader = threading.Thread(target=versions.keep, args=([first, second],))
    loader.start()
    assert loading.wait(10.0)
    assert versions.get(first).model == "one"
    with pytest.raises(NotReadyError, match="not loaded yet"):
        versions.get(second)
    go_on.set()
    loader.join()
    assert versions.get(second).model == "two"


def test_two_at_once_load_once(registry, register):
    ref: ModelRef = register("one")
    loads, begin = [], threading.Barrier(4)

    def counted(fetched):
        loads.append(fetched.version.ref)
        return load(fetched)

    versions = LoadedVersions(registry, counted, warm_up=warm_up)

    def keep():
        begin.wait()
        versions.keep([ref])

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [ref]


@pytest.fixture
def evicted(registry, tmp_path):
    """Fetches another artifact into a cache that has room for none, and says which versions it took."""
    numbers = itertools.count()

    def run():
        room_for_none = MemoryModelRegistry(tmp_path / "cache", cache_maximum_bytes=1)
        folder = tmp_path / "filler"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(f"[{next(numbers)}]")
        room_for_none.fetch(room_for_none.register(ModelSpec("filler", SIGNATURE, "d", "s"), folder))
        return {
            str(version.ref)
            for name in registry.names()
            for version in registry.versions(name)
            if not (tmp_path / "cache" / version.artifact_digest).exists()
        }

    return run


def test_the_files_of_what_is_loaded_and_of_what_it_needs_stay_on_the_machine(
    versions, register, evicted, clock
):
    space = register("space", name="retrieval")
    first = register("one", name="cold-start", depends_on={"retrieval": space})
    second = register("two")
    assert versions.keep([first, second])
    assert evicted() == set()
    clock.now_s = 10.0
    versions.keep([second])
    assert evicted() == set()  # requests that began under it are answered by it
    clock.now_s = 41.0
    versions.keep([second])
    assert evicted() == {str(first), str(space)}


def test_the_files_of_what_cannot_be_loaded_may_go(versions, register, evicted):
    good, bad = register("one"), register("cannot answer")
    assert not versions.keep([good, bad])
    assert evicted() == {str(bad)}
