"""What every model registry must do: the in-memory twin and MLflow on SQLite."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError, NotFoundError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.documents.keys import MemoryKeyRing
from streamrec.documents.publisher import DocumentPublisher
from streamrec.ledger.anchors import LEDGER_ANCHOR, AnchoredLedger, write_anchor
from streamrec.ledger.ledger import Decision
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.artifact_cache import ArtifactCache
from streamrec.registry.manifest import MANIFEST_FILE, write_manifest
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from streamrec.registry.model_registry import ModelRegistry
from streamrec.registry.noted_documents import NotedDocumentStore

# MLflow 3.17 under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

HOSTILE_NAMES = ["a..b", "%2e%2e", "a\0b", "a\\b", "a" * 300, "-rf", "../up", "", "A", "a b", "a\n"]

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("history", "int64", (-1, 50)),), outputs=(TensorSpec("scores", "float32", (-1,)),)
)


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(params=["memory", "mlflow"])
def registry(request, tmp_path, mlflow_folder) -> ModelRegistry:
    if request.param == "memory":
        return MemoryModelRegistry(tmp_path / "cache")
    # One database for all tests: each uses names of its own.
    settings = RegistrySettings.embedded(mlflow_folder)
    return MlflowModelRegistry(
        RegistrySettings(settings.tracking_uri, settings.artifact_root, tmp_path / "cache")
    )


@pytest.fixture
def name(request) -> str:
    letters = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    return "-".join(part for part in letters.split("-") if part)[:60].strip("-")


@pytest.fixture
def artifact(tmp_path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "tables").mkdir(parents=True)
    np.savez(folder / "weights.npz", table=np.arange(6, dtype=np.float32))
    (folder / "tables" / "items.json").write_text(json.dumps(["a", "b"]))
    return folder


def spec(name: str, **changes) -> ModelSpec:
    fields = {
        "name": name,
        "signature": SIGNATURE,
        "data_fingerprint": "d" * 64,
        "settings_fingerprint": "s" * 64,
        "metrics": {"ndcg@10": 0.125, "hit@10": 0.25},
        "parameters": {"dimensions": 64, "layers": [1, 2], "optimiser": {"rate": 0.001}, "seed": None},
    }
    return ModelSpec(**(fields | changes))


def test_a_registered_version_is_read_back_whole(registry, artifact, name):
    registered = registry.register(spec(name), artifact)

    read = registry.get(ModelRef(name, 1))

    assert read == registered
    assert read.ref == ModelRef(name, 1)
    assert read.signature == SIGNATURE
    assert dict(read.metrics) == {"ndcg@10": 0.125, "hit@10": 0.25}
    assert dict(read.parameters) == {
        "dimensions": 64,
        "layers": [1, 2],
        "optimiser": {"rate": 0.001},
        "seed": None,
    }
    assert (read.data_fingerprint, read.settings_fingerprint) == ("d" * 64, "s" * 64)
    assert read.created_at.tzinfo is UTC or read.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - read.created_at) < timedelta(minutes=5)
    assert read.aliases == frozenset()


def test_a_specification_and_what_is_attached_stay_with_the_version(registry, artifact, name):
    document = {"name": name, "task": "ranking", "quality": {"margin": 0.02, "at": 10}}
    digests = {"evaluation.parquet": "e" * 64}
    ref = registry.register(spec(name, specification=document, attachments=digests), artifact).ref
    read = registry.get(ref)
    assert dict(read.specification) == document
    assert dict(read.attachments) == digests
    before = read.artifact_digest
    assert registry.attached(ref, "gates.json") is None
    registry.attach(ref, "gates.json", b"{}")
    registry.attach(ref, "gates.json", b'{"a": 1}')
    assert registry.attached(ref, "gates.json") == b'{"a": 1}'
    assert registry.get(ref).artifact_digest == before
    assert (registry.fetch(registry.get(ref)) / "gates.json").exists() is False
    with pytest.raises(NotFoundError):
        registry.attach(ModelRef(name, 9), "gates.json", b"{}")


def test_versions_without_a_specification_stay_readable(registry, artifact, name):
    read = registry.get(registry.register(spec(name), artifact).ref)
    assert read.specification is None
    assert dict(read.attachments) == {}


@pytest.mark.parametrize(
    "hostile", ["../x.json", "a/b.json", ".json", "x.pkl", "X.json", "", "a" * 90 + ".json"]
)
def test_hostile_attachments_are_refused(registry, artifact, name, hostile):
    ref = registry.register(spec(name), artifact).ref
    with pytest.raises(InvalidInputError):
        registry.attach(ref, hostile, b"")
    with pytest.raises(InvalidInputError):
        registry.attached(ref, hostile)


def test_versions_count_up_and_are_listed_newest_first(registry, artifact, name):
    assert registry.versions(name) == ()
    for _ in range(3):
        registry.register(spec(name), artifact)
    registry.set_alias(ModelRef(name, 2), "champion")

    listed = registry.versions(name)

    assert [version.ref.version for version in listed] == [3, 2, 1]
    assert [version.aliases for version in listed] == [frozenset(), frozenset({"champion"}), frozenset()]


def test_names_are_those_of_the_registered_models(registry, artifact, name):
    names = sorted([f"{name[:50]}-b", f"{name[:50]}-a"])
    assert not set(names) & set(registry.names())
    for each in reversed(names):
        registry.register(spec(each), artifact)
        registry.register(spec(each), artifact)

    listed = registry.names()

    assert list(listed) == sorted(set(listed))
    assert [each for each in listed if each in names] == names


def test_an_alias_moves(registry, artifact, name):
    registry.register(spec(name), artifact)
    registry.register(spec(name), artifact)
    registry.set_alias(ModelRef(name, 1), "champion")
    registry.set_alias(ModelRef(name, 1), "challenger")
    assert registry.resolve(name).aliases == {"champion", "challenger"}

    registry.set_alias(ModelRef(name, 2), "champion")

    assert registry.resolve(name, "champion").ref.version == 2
    assert registry.resolve(name, "challenger").ref.version == 1
    assert registry.get(ModelRef(name, 1)).aliases == {"challenger"}


def test_an_alias_is_removed(registry, artifact, name):
    with pytest.raises(NotFoundError):
        registry.remove_alias(name, "challenger")
    registry.register(spec(name), artifact)
    registry.set_alias(ModelRef(name, 1), "champion")
    registry.set_alias(ModelRef(name, 1), "challenger")
    for _ in range(2):
        registry.remove_alias(name, "challenger")
        assert registry.get(ModelRef(name, 1)).aliases == {"champion"}
    with pytest.raises(NotFoundError):
        registry.resolve(name, "challenger")


def test_what_does_not_exist_is_not_found(registry, artifact, name):
    with pytest.raises(NotFoundError, match=f"{name}.*champion"):
        registry.resolve(name)
    with pytest.raises(NotFoundError, match=name):
        registry.get(ModelRef(name, 1))
    registry.register(spec(name), artifact)
    with pytest.raises(NotFoundError, match="champion"):
        registry.resolve(name)
    with pytest.raises(NotFoundError):
        registry.set_alias(ModelRef(name, 2), "champion")
    with pytest.raises(NotFoundError):
        registry.get(ModelRef(name, 10**9))


def test_find_returns_the_newest_match_and_only_matches(registry, artifact, name):
    registry.register(spec(name), artifact)
    registry.register(spec(name), artifact)
    registry.register(spec(name, data_fingerprint="e" * 64), artifact)

    found = registry.find(name, data_fingerprint="d" * 64, settings_fingerprint="s" * 64)

    assert found is not None
    assert found.ref.version == 2
    assert registry.find(name, data_fingerprint="d" * 64, settings_fingerprint="t" * 64) is None
    assert registry.find(f"{name[:50]}-no", data_fingerprint="d", settings_fingerprint="s") is None


def test_dependencies_are_kept_and_must_exist(registry, artifact, name):
    base = registry.register(spec(name), artifact)
    child = f"{name[:50]}-child"
    registered = registry.register(spec(child, depends_on={"retrieval": base.ref}), artifact)
    assert dict(registered.depends_on) == {"retrieval": base.ref}
    assert dict(registry.get(registered.ref).depends_on) == {"retrieval": base.ref}

    with pytest.raises(NotFoundError):
        registry.register(spec(child, depends_on={"retrieval": ModelRef(name, 7)}), artifact)


def test_fetch_returns_the_same_bytes_read_only(registry, artifact, name):
    version = registry.register(spec(name), artifact)

    folder = registry.fetch(version)

    for path in ("weights.npz", "tables/items.json"):
        assert (folder / path).read_bytes() == (artifact / path).read_bytes()
        assert (folder / path).stat().st_mode & 0o222 == 0
    assert registry.fetch(version) == folder
    assert folder.name == version.artifact_digest


def test_what_is_fetched_stays_until_it_is_let_go_of(registry, artifact, name, tmp_path):
    version = registry.register(spec(name), artifact)
    folder = registry.fetch(version)

    def fetch_another():
        source = tmp_path / "another"
        source.mkdir(exist_ok=True)
        (source / "model.json").write_text("[0]")
        digest = write_manifest(source)
        cache = ArtifactCache(folder.parent, maximum_bytes=1)
        cache.fetch(digest, lambda target: shutil.copytree(source, target, dirs_exist_ok=True))
        cache.keep_only(())
        shutil.rmtree(folder.parent / digest)

    registry.keep_only([version])
    fetch_another()
    assert folder.is_dir()
    registry.keep_only([])
    fetch_another()
    assert not folder.exists()
    assert registry.fetch(version) == folder


@pytest.mark.parametrize("damage", ["flip", "add", "rename", "truncate", "hidden-folder"])
def test_fetch_never_hands_out_a_damaged_artifact(registry, artifact, name, damage):
    version = registry.register(spec(name), artifact)
    folder = registry.fetch(version)
    weights = folder / "weights.npz"
    weights.chmod(0o644)
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[40] ^= 1
        weights.write_bytes(content)
    elif damage == "add":
        (folder / "extra.json").write_text("1")
    elif damage == "rename":
        weights.rename(folder / "other.npz")
    elif damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-1])
    else:
        (folder / ".git").mkdir()
        (folder / ".git" / "x.py").write_text("1")

    mended = registry.fetch(version)

    assert (mended / "weights.npz").read_bytes() == (artifact / "weights.npz").read_bytes()
    assert not (mended / "extra.json").exists()
    assert not (mended / "other.npz").exists()
    assert not (mended / ".git").exists()


def test_the_digest_changes_with_any_byte(registry, artifact, name):
    first = registry.register(spec(name), artifact)
    second = registry.register(spec(name), artifact)
    (artifact / "tables" / "items.json").write_text(json.dumps(["a", "c"]))
    third = registry.register(spec(name), artifact)

    assert first.artifact_digest == second.artifact_digest
    assert third.artifact_digest != first.artifact_digest


@pytest.mark.parametrize("hostile", HOSTILE_NAMES)
def test_hostile_names_are_refused_everywhere(registry, hostile):
    with pytest.raises(InvalidInputError):
        registry.resolve(hostile)
    with pytest.raises(InvalidInputError):
        registry.versions(hostile)
    with pytest.raises(InvalidInputError):
        registry.find(hostile, data_fingerprint="d", settings_fingerprint="s")


@pytest.mark.parametrize("alias", [*HOSTILE_NAMES, "latest", "v9"])
def test_hostile_aliases_are_refused(registry, alias):
    with pytest.raises(InvalidInputError):
        registry.resolve("two-tower", alias)
    with pytest.raises(InvalidInputError):
        registry.set_alias(ModelRef("two-tower", 1), alias)


def test_unsafe_artifacts_are_refused_and_leave_no_version(registry, artifact, name, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ArtifactError, match="empty"):
        registry.register(spec(name), empty)
    with pytest.raises(ArtifactError, match="not a folder"):
        registry.register(spec(name), tmp_path / "missing")

    for path, content, words in (
        ("model.pkl", b"\x80\x05", "pkl"),
        (".hidden.json", b"1", "hidden"),
        ("MLmodel", b"flavors: {}", "MLmodel"),
        (MANIFEST_FILE, b"{}", MANIFEST_FILE),
        ("bad.json", b"{", "bad.json"),
    ):
        (artifact / path).write_bytes(content)
        with pytest.raises(ArtifactError, match=words):
            registry.register(spec(name), artifact)
        (artifact / path).unlink()
    (artifact / "link.json").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match=r"link\.json"):
        registry.register(spec(name), artifact)
    assert registry.versions(name) == ()


def test_metrics_and_parameters_that_cannot_be_kept_are_refused(registry, artifact, name):
    for changes, field in (
        ({"metrics": {"ndcg": float("nan")}}, "metrics.ndcg"),
        ({"parameters": {"rate": float("inf")}}, "parameters"),
        ({"parameters": {"path": Path("x")}}, "parameters"),
        ({"parameters": {"long": "x" * 100_000}}, "parameters"),
        ({"data_fingerprint": ""}, "data_fingerprint"),
        ({"signature": ModelSignature((), SIGNATURE.outputs)}, "signature"),
        ({"settings_fingerprint": "' OR 1=1"}, "settings_fingerprint"),
    ):
        with pytest.raises(InvalidInputError) as raised:
            registry.register(spec(name, **changes), artifact)
        assert raised.value.field == field
    assert registry.versions(name) == ()


def test_a_note_is_read_as_it_was_written_last(registry, name):
    assert registry.note(name) is None
    registry.write_note(name, "first")
    registry.write_note(name, '{"text":"é"}')
    assert registry.note(name) == '{"text":"é"}'


def test_a_ledger_is_anchored_in_a_note(registry, name):
    publisher = DocumentPublisher(NotedDocumentStore(registry, name), LEDGER_ANCHOR, MemoryKeyRing())
    ledger = AnchoredLedger(MemoryLedger(), publisher)
    for _ in range(2):
        entry = ledger.append(Decision("mira", ActorRole.SPOKE, EntryKind.GATES_JUDGED, "toxicity@1"))
    assert publisher.published().value.hash == entry.hash
    assert entry.hash in registry.note(name)
    with pytest.raises(ArtifactError, match="no longer holds entry 2"):
        write_anchor(MemoryLedger(), publisher)
