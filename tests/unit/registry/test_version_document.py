from __future__ import annotations

from dataclasses import replace

import pytest

from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.documents.key_folder import KeyFolder
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.signed_versions import SignedVersions, publish_versions
from streamrec.registry.version_document import version_digest
from tests.promoted import deploy, desk_of, traffic_files

SIGNATURE = ModelSignature((TensorSpec("x", "float32", (-1,)),), (TensorSpec("y", "float32", (-1,)),))


@pytest.fixture
def registry(tmp_path):
    return MemoryModelRegistry(tmp_path / "cache")


@pytest.fixture
def version(registry, tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "model.json").write_text("1")
    spec = ModelSpec(
        "ranking",
        SIGNATURE,
        "d",
        "s",
        metrics={"auc": 1.0},
        parameters={"rate": 1.0, "small": 1e-7, "epochs": 3},
        slot="shop.ranking",
        specification={"monitoring": {"window_hours": 24.0}, "quality": {"margin": 0.02}},
    )
    return registry.register(spec, tmp_path / "artifact")


def test_whole_numbers_with_a_point_are_loaded_by_a_replica_as_they_were_judged(registry, version, tmp_path):
    files = traffic_files(tmp_path)
    deploy(desk_of(tmp_path, registry, MemoryLedger()), [version.ref])
    publish_versions(registry, version.ref, files.versions, tmp_path / "keys")
    read = SignedVersions(files.versions, KeyFolder(tmp_path / "keys").public_folder).get(version.ref)
    assert version_digest(read) == version_digest(version)


@pytest.mark.parametrize(
    "changed",
    [
        {"specification": {"monitoring": {"window_hours": 24.0}, "quality": {"margin": 0.5}}},
        {"slot": "shop.other"},
        {"parameters": {"rate": 1.5, "small": 1e-7, "epochs": 3}},
        {"depends_on": {"index": ModelRef("index", 1)}},
    ],
)
def test_whatever_is_said_of_a_version_is_in_its_digest(version, changed):
    assert version_digest(replace(version, **changed)) != version_digest(version)
