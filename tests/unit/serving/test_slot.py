from __future__ import annotations

import json
import threading

import pytest

from streamrec.contracts.errors import ArtifactError, DependencyError, NotReadyError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.serving.slot import ModelSlot, Refresh

SIGNATURE = ModelSignature((TensorSpec("x", "float32", (-1,)),), (TensorSpec("y", "float32", (-1,)),))


@pytest.fixture
def registry(tmp_path):
    return MemoryModelRegistry(tmp_path / "cache")


@pytest.fixture
def register(registry, tmp_path):
    def run(content, *, name="ranking", champion=True, **changes):
        folder = tmp_path / f"artifact-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps(content))
        version = registry.register(ModelSpec(name, SIGNATURE, "d", "s", **changes), folder)
        if champion:
            registry.set_alias(version.ref, "champion")
        return version

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
def slot(registry):
    return ModelSlot(registry, "ranking", load, warm_up=warm_up)


def test_a_slot_loads_what_the_alias_points_to_and_swaps_when_it_moves(slot, register):
    first = register("one")
    assert slot.refresh() is Refresh.SWAPPED
    assert slot.current().model == "one"
    assert slot.version is not None
    assert slot.version.ref == first.ref
    assert slot.refresh() is Refresh.UNCHANGED

    register("two", champion=False)
    assert slot.refresh() is Refresh.UNCHANGED

    third = register("three")
    held = slot.current()
    assert slot.refresh() is Refresh.SWAPPED
    assert (slot.current().model, slot.current().ref) == ("three", third.ref)
    # A request that began on the old version ends on it.
    assert (held.model, held.ref) == ("one", first.ref)


def test_before_the_first_version_the_slot_is_not_ready_and_names_the_model(slot):
    with pytest.raises(NotReadyError, match=r"'ranking'.*'champion'"):
        slot.current()
    with pytest.raises(NotReadyError, match=r"'ranking'.*'champion'"):
        slot.refresh()
    assert slot.version is None


@pytest.mark.parametrize("content", ["cannot be loaded", "cannot answer"])
def test_a_first_version_that_fails_is_named_with_its_cause(slot, register, content):
    register(content)
    with pytest.raises(NotReadyError, match=r"'ranking'.*(wrong shape|NaN in the answer)"):
        slot.refresh()
    with pytest.raises(NotReadyError):
        slot.current()


@pytest.mark.parametrize("content", ["cannot be loaded", "cannot answer"])
def test_a_version_that_fails_leaves_the_old_one_and_says_why(slot, register, content):
    register("one")
    slot.refresh()
    register(content)
    assert slot.refresh() is Refresh.KEPT_OLD
    assert slot.current().model == "one"
    assert slot.last_error is not None
    register("three")
    assert slot.refresh() is Refresh.SWAPPED
    assert slot.last_error is None


@pytest.mark.parametrize("method", ["resolve", "fetch", "get"])
@pytest.mark.parametrize("error", [DependencyError("down"), ArtifactError("a flipped byte")])
def test_a_registry_that_fails_leaves_the_old_version(slot, registry, register, monkeypatch, method, error):
    base = register("base", name="retrieval")
    register("one")
    slot.refresh()
    register("two", depends_on={"retrieval": base.ref})

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(registry, method, fail)
    assert slot.refresh() is Refresh.KEPT_OLD
    assert slot.current().model == "one"
    assert slot.last_error is error


def test_the_loader_gets_the_artifacts_that_the_version_depends_on(registry, register):
    base = register("base", name="retrieval")
    register("later", name="retrieval")
    register("child", name="cold-start", depends_on={"retrieval": base.ref})

    slot = ModelSlot(
        registry,
        "cold-start",
        lambda fetched: (load(fetched), load(fetched.dependencies["retrieval"])),
        warm_up=lambda _: None,
    )
    slot.refresh()

    assert slot.current().model == ("child", "base")


def test_a_slot_may_hold_another_alias(registry, register):
    register("one")
    register("two", champion=False)
    registry.set_alias(ModelRef("ranking", 2), "challenger")
    slot = ModelSlot(registry, "ranking", load, warm_up=warm_up, alias="challenger")
    slot.refresh()
    assert slot.current().model == "two"


def test_readers_never_wait_and_never_see_a_half_swapped_slot(slot, register):
    register("one")
    slot.refresh()
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            loaded = slot.current()
            seen.add((loaded.ref.version, loaded.model))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2, 8):
        register(str(number))
        assert slot.refresh() is Refresh.SWAPPED
    stop.set()
    reader.join()

    assert seen <= {(1, "one")} | {(number, str(number)) for number in range(2, 8)}


def test_two_refreshes_at_once_load_once(registry, register):
    register("one")
    loads = []
    begin = threading.Barrier(4)

    def slow_load(fetched):
        loads.append(fetched.version.ref)
        return load(fetched)

    slot = ModelSlot(registry, "ranking", slow_load, warm_up=warm_up)

    def refresh():
        begin.wait()
        slot.refresh()

    threads = [threading.Thread(target=refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
