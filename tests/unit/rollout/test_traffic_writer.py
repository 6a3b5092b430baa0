from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import (
    ArtifactError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
)
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.files.locks import only_holder
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.ledger.served import served
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.signed_versions import SignedVersions, document_path
from streamrec.rollout.heartbeats import MemoryHeartbeats
from streamrec.rollout.traffic_changes import champions
from streamrec.rollout.traffic_history import ChangeKind, read_changes
from streamrec.rollout.traffic_writer import TrafficWriter
from streamrec.serving.loaded_versions import LoadedVersions
from streamrec.serving.replica import ModelReplica
from tests.promoted import deploy, desk_of, traffic_files

SIGNATURE = ModelSignature((TensorSpec("x", "float32", (-1,)),), (TensorSpec("y", "float32", (-1,)),))


def load(fetched):
    content = json.loads((fetched.folder / "model.json").read_text())
    if content == "broken":
        raise ValueError("wrong shape")
    return content


class World:
    """A registry, replicas and a writer, with a clock that the writer's waiting turns forward."""

    def __init__(self, folder):
        self.folder, self.files = folder, traffic_files(folder)
        self.registry = MemoryModelRegistry(folder / "cache")
        self.heartbeats, self.ledger = MemoryHeartbeats(), MemoryLedger()
        self.desk = desk_of(folder, self.registry, self.ledger)
        self.now = datetime(2026, 11, 28, tzinfo=UTC)
        self.replicas = []
        self.writer = TrafficWriter(
            self.files,
            folder / "keys",
            self.registry,
            self.ledger,
            heartbeats=self.heartbeats,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)
        for replica in self.replicas:
            replica.follow()

    def register(self, name, content="a model", *, slot="", depends_on=()):
        artifact = self.folder / f"artifact-{name}"
        artifact.mkdir(exist_ok=True)
        (artifact / "model.json").write_text(json.dumps(content))
        needed = {ref.name: ref for ref in depends_on}
        spec = ModelSpec(name, SIGNATURE, "d", "s", depends_on=needed, slot=slot or f"spoke.{name}")
        ref = self.registry.register(spec, artifact).ref
        deploy(self.desk, [ref])
        return ref

    def replica(self, name):
        versions = SignedVersions(self.files.versions, self.files.public_keys)

        class Source:
            get = staticmethod(versions.get)
            fetch = self.registry.fetch
            keep_only = self.registry.keep_only

        replica = ModelReplica(
            f"spoke.{name}",
            name,
            LoadedVersions(Source(), load, warm_up=lambda _: None),
            self.files.open_follower(),
            self.heartbeats,
            replica=f"{name}-{len(self.replicas)}",
            now=lambda: self.now,
            clock=lambda: self.now.timestamp(),
        )
        replica.follow()
        self.replicas.append(replica)
        return replica

    def serving(self):
        return champions(self.writer._document.publisher.published().value)

    def promote(self, *refs, **options):
        return self.writer.promote(refs, actor="ada", **options)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_promotion_names_the_champion_and_says_who_and_why(world):
    first = world.register("ranking")
    changed = world.promote(first, reason="it is better")
    assert world.serving() == {"spoke.ranking": first}
    assert (changed.before, changed.after, changed.replicas) == ({}, {"spoke.ranking": first}, ())
    (change,) = read_changes(world.files.history, up_to=changed.revision)
    assert (change.actor, change.reason, change.kind) == ("ada", "it is better", ChangeKind.PROMOTED)
    assert world.registry.get(first).aliases == {"champion"}


def test_replicas_load_first_and_traffic_comes_then(world):
    world.promote(world.register("ranking"))
    replicas = [world.replica("ranking"), world.replica("ranking")]
    second = world.register("ranking", "another")
    changed = world.promote(second)
    assert changed.replicas == ("ranking-0", "ranking-1")
    assert all(replica.get(second).model == "another" for replica in replicas)
    assert all(replica.champion != second for replica in replicas)  # they have not looked again yet
    for replica in replicas:
        assert replica.follow()
        assert replica.champion == second


def test_a_replica_that_cannot_load_stops_the_change_and_the_old_one_serves(world):
    first = world.register("ranking")
    world.promote(first)
    replica = world.replica("ranking")
    with pytest.raises(
        NotReadyError, match=r"ranking-0 of spoke\.ranking cannot serve ranking@2.*wrong shape"
    ):
        world.promote(world.register("ranking", "broken"))
    assert world.serving() == {"spoke.ranking": first}
    assert world.writer._document.publisher.published().value.prepare == ()
    replica.follow()
    assert replica.get(first).model == "a model"
    assert replica.problem == ""


def test_a_replica_that_is_heard_and_does_not_load_in_time_stops_the_change(world):
    first = world.register("ranking")
    world.promote(first)
    world.replica("ranking")
    stuck = world.replicas.pop()

    def sleep(seconds):
        world.now += timedelta(seconds=seconds)
        stuck.tell()  # it is there, and does not look at the document

    world.writer._sleep = sleep
    with pytest.raises(DependencyError, match="ranking-0 did not load ranking@2 within 5 s"):
        world.promote(world.register("ranking"), timeout_s=5.0)
    assert world.serving() == {"spoke.ranking": first}


def test_a_replica_that_is_silent_is_not_waited_for(world):
    world.promote(world.register("ranking"))
    world.replica("ranking")
    world.replicas.clear()
    world.now += timedelta(seconds=11)
    second = world.register("ranking")
    assert world.promote(second).replicas == ()
    assert world.serving() == {"spoke.ranking": second}
    world.now += timedelta(hours=2)
    world.promote(world.register("ranking"))
    assert world.heartbeats.read() == []


def test_slots_that_depend_on_each_other_move_together(world):
    retrieval = world.register("retrieval")
    cold_start = world.register("cold-start", depends_on=[retrieval])
    other = world.register("ranking")
    world.promote(retrieval, cold_start, other)
    slots = world.writer._document.publisher.published().value.slots
    assert slots["spoke.retrieval"].bundle == slots["spoke.cold-start"].bundle is not None
    assert slots["spoke.ranking"].bundle is None

    newer = world.register("retrieval")
    with pytest.raises(
        InvalidInputError, match=r"cold-start@1 works with retrieval@1.*retrieval@2 would serve"
    ):
        world.promote(newer)
    follows = world.register("cold-start", depends_on=[newer])
    with pytest.raises(InvalidInputError, match="cold-start@2 works with retrieval@2"):
        world.promote(follows)
    before = world.writer._document.publisher.published().revision
    changed = world.promote(follows, newer)
    assert changed.revision > before
    assert world.serving() == {
        "spoke.cold-start": follows, "spoke.ranking": other, "spoke.retrieval": newer,
    }  # fmt: skip


def test_a_rollback_undoes_all_of_a_promotion_and_the_next_one_goes_further_back(world):
    pairs = []
    for _ in range(3):
        retrieval = world.register("retrieval")
        pairs.append((retrieval, world.register("cold-start", depends_on=[retrieval])))
        world.promote(*pairs[-1])
    for back in (1, 0):
        changed = world.writer.roll_back("spoke.cold-start", actor="night", reason="worse")
        assert set(world.serving().values()) == set(pairs[back])
        assert changed.after == {"spoke.retrieval": pairs[back][0], "spoke.cold-start": pairs[back][1]}
    with pytest.raises(NotFoundError, match=r"nothing served in spoke\.cold-start, spoke\.retrieval before"):
        world.writer.roll_back("spoke.retrieval", actor="night")
    with pytest.raises(NotFoundError, match=r"no promotion in spoke\.nowhere"):
        world.writer.roll_back("spoke.nowhere", actor="night")


def test_a_rollback_of_what_was_changed_again_names_what_to_do_first(world):
    first, other = world.register("ranking"), world.register("search")
    world.promote(first, other)
    world.promote(world.register("ranking"), world.register("search"))
    world.promote(world.register("search"))
    with pytest.raises(InvalidInputError, match=r"spoke\.search.*roll spoke\.search back first"):
        world.writer.roll_back("spoke.ranking", actor="night")


def test_what_serves_already_changes_nothing(world):
    ref = world.register("ranking")
    revision = world.promote(ref).revision
    again = world.promote(ref)
    assert (again.revision, again.after) == (revision, {})


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda _world: (ModelRef("ranking", 9),), NotFoundError, "ranking@9"),
        (
            lambda world: (world.register("a", slot="spoke.x"), world.register("b", slot="spoke.x")),
            InvalidInputError,
            r"a@1 and b@1 are both of the slot spoke\.x",
        ),
    ],
)
def test_what_cannot_be_promoted_is_refused_and_nothing_is_published(world, make, error, match):
    with pytest.raises(error, match=match):
        world.promote(*make(world))
    assert not world.files.document.exists()


def test_a_version_without_a_slot_needs_one_named(world):
    artifact = world.folder / "artifact"
    artifact.mkdir()
    (artifact / "model.json").write_text("1")
    ref = world.registry.register(ModelSpec("old", SIGNATURE, "d", "s"), artifact).ref
    deploy(world.desk, [ref])
    with pytest.raises(InvalidInputError, match="without a slot"):
        world.promote(ref)
    world.promote(ref, slot="spoke.old")
    with pytest.raises(InvalidInputError, match=r"was registered for spoke\.new"):
        world.promote(world.register("new"), slot="spoke.old")
    assert world.serving() == {"spoke.old": ref}


def test_one_line_of_reason(world):
    for reason in ("two\nlines", "x" * 2_001, "\x1b[31m"):
        with pytest.raises(InvalidInputError, match="reason"):
            world.promote(world.register("ranking"), reason=reason)


def test_somebody_elses_change_is_waited_for_only_shortly(world, monkeypatch):
    monkeypatch.setattr("streamrec.rollout.driving.traffic_document.LOCK_TIMEOUT_S", 0.05)
    ref = world.register("ranking")
    world.files.folder.mkdir(exist_ok=True)
    with (
        only_holder(world.files.writer_lock, "another"),
        pytest.raises(OverloadedError, match="somebody else is changing"),
    ):
        world.promote(ref)


def test_two_writers_at_once_both_succeed_one_after_the_other(world):
    refs = [world.register("ranking"), world.register("search")]
    threads = [threading.Thread(target=world.promote, args=(ref,)) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(world.serving().values()) == set(refs)


def test_a_change_that_a_killed_writer_only_announced_does_not_count(world, monkeypatch):
    first = world.register("ranking")
    world.promote(first)
    second = world.register("ranking")

    def killed(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(world.writer._document.publisher, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            world.promote(second)
    assert len(world.files.history.read_text().splitlines()) == 2
    with world.files.history.open("ab") as file:
        file.write(b'{"half a line')
    third = world.register("ranking")
    world.promote(third)
    changed = world.writer.roll_back("spoke.ranking", actor="night")
    assert changed.after == {"spoke.ranking": first}


def test_what_the_ledger_was_told_and_never_came_is_taken_back_by_the_next_change(world, monkeypatch):
    first, second = world.register("ranking"), world.register("ranking", "another")
    world.promote(first)

    def killed(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(world.writer._document.publisher, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            world.promote(second)
    assert told(world) == second  # which never served
    world.promote(first)  # serves already
    assert told(world) == first
    entries = list(world.ledger.entries(kinds=(EntryKind.TRAFFIC_CHANGED,)))
    assert [entry.actor for entry in entries] == ["ada", "ada", "traffic-writer"]
    world.promote(first)
    assert list(world.ledger.entries(kinds=(EntryKind.TRAFFIC_CHANGED,))) == entries


def told(world):
    """What the ledger says that serves."""
    return served(world.ledger, "spoke.ranking", datetime.now(UTC) + timedelta(days=1)).version


def test_an_artifact_that_is_another_than_was_promoted_is_refused(world):
    ref = world.register("ranking")
    world.promote(ref)
    path = document_path(world.files.versions, ref)
    other = document_path(world.files.versions, world.register("ranking", "another"))
    other.write_bytes(path.read_bytes())
    with pytest.raises(ArtifactError, match="document of ranking@1"):
        SignedVersions(world.files.versions, world.files.public_keys).get(ModelRef("ranking", 2))
    path.write_bytes(path.read_bytes().replace(b'"data_fingerprint":"d"', b'"data_fingerprint":"e"'))
    with pytest.raises(ArtifactError, match="refused"):
        SignedVersions(world.files.versions, world.files.public_keys).get(ref)
