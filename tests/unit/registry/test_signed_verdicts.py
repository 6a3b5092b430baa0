from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError, NotFoundError
from streamrec.contracts.governance.model_verdict import (
    Basis,
    GateFinding,
    ModelVerdict,
    OverrideInForce,
    Revocation,
    VerdictFile,
)
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.documents.key_folder import KeyFolder
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.revocations import publish_revocations
from streamrec.registry.signed_verdicts import (
    SignedVerdicts,
    files_of,
    revoke_verdict,
    sign_verdict,
    unverified_verdict,
    verdict_path,
)
from streamrec.registry.signed_versions import (
    SignedVersions,
    document_path,
    publish_versions,
    sign_version_again,
)
from streamrec.registry.version_document import version_digest
from tests.unit.rollout.test_traffic_writer import SIGNATURE

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
PASSED = GateFinding(Verdict.PASSED, "e" * 64)
FAILED = GateFinding(Verdict.FAILED, "f" * 64)


class Versions:
    """A registered version, and where its documents lie."""

    def __init__(self, folder):
        self.folder, self.keys = folder / "versions", folder / "keys"
        self.registry = MemoryModelRegistry(folder / "cache")
        artifact = folder / "artifact"
        artifact.mkdir()
        (artifact / "model.json").write_text("{}")
        self.version = self.registry.register(
            ModelSpec("clicks", SIGNATURE, "d", "s", slot="shop.clicks"), artifact
        )
        self.ref = self.version.ref
        public = KeyFolder(self.keys).public_folder
        self.verdicts, self.documents = (
            SignedVerdicts(self.folder, public),
            SignedVersions(self.folder, public),
        )

    def verdict(self, **changes):
        fields = {
            "model": self.ref,
            "artifact_digest": self.version.artifact_digest,
            "version_digest": version_digest(self.version),
            "files": files_of(self.registry.fetch(self.version)),
            "specification_digest": "5" * 64,
            "basis": Basis.GATES,
            "gates": dict.fromkeys(GateName, PASSED),
            "overrides": (),
            "champion": None,
            "isolation": {"network": "seccomp"},
            "isolation_waived": False,
            "at": NOON,
        }
        return ModelVerdict(**(fields | changes))

    def sign(self, **changes):
        verdict = self.verdict(**changes)
        publish_revocations(self.folder, self.keys, ())
        sign_verdict(self.folder, self.keys, verdict)
        return verdict


@pytest.fixture
def versions(tmp_path):
    return Versions(tmp_path)


def test_a_verdict_is_read_as_it_was_signed(versions):
    signed = versions.sign()
    assert versions.verdicts.get(versions.ref) == signed
    assert versions.verdicts.check(versions.version) == signed


def test_the_files_of_a_verdict_are_every_file_with_its_digest(versions):
    digest = hashlib.sha256(b"{}").hexdigest()
    assert versions.verdict().files == (VerdictFile("model.json", 2, digest),)


def test_nothing_is_published_or_read_without_a_verdict(versions):
    def publish():
        return publish_versions(versions.registry, versions.ref, versions.folder, versions.keys)

    with pytest.raises(NotFoundError, match=r"streamrec models deploy clicks@1"):
        publish()
    assert not document_path(versions.folder, versions.ref).exists()
    versions.sign()
    publish()
    assert versions.documents.get(versions.ref) == versions.version
    verdict_path(versions.folder, versions.ref).unlink()
    with pytest.raises(NotFoundError, match="has no verdict"):
        versions.documents.get(versions.ref)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"artifact_digest": "0" * 64}, "was signed over the artifact 000"),
        ({"version_digest": "0" * 64}, "somebody changed it since"),
        ({"files": (VerdictFile("model.json", 2, "0" * 64),)}, "files that the verdict over clicks@1 lists"),
        ({"revoked": Revocation(NOON, "ada", "it harms")}, "was revoked by ada: it harms"),
    ],
)
def test_a_verdict_over_anything_else_allows_nothing(versions, change, why):
    versions.sign(**change)
    with pytest.raises(ArtifactError, match=why):
        versions.verdicts.check(versions.version)


@pytest.mark.parametrize("byte", [0, 40, -40])
def test_a_flipped_bit_of_a_verdict_is_refused(versions, byte):
    versions.sign()
    path = verdict_path(versions.folder, versions.ref)
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is refused"):
        versions.verdicts.get(versions.ref)
    versions.sign()  # a new one replaces it
    versions.verdicts.check(versions.version)


def test_the_document_of_another_kind_is_no_verdict(versions):
    versions.sign()
    publish_versions(versions.registry, versions.ref, versions.folder, versions.keys)
    content = document_path(versions.folder, versions.ref).read_bytes()
    verdict_path(versions.folder, versions.ref).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"unknown_schema.*streamrec\.model_version\.v1"):
        versions.verdicts.get(versions.ref)


def test_a_revocation_stays_readable_and_there_is_none_without_a_verdict(versions):
    with pytest.raises(NotFoundError):
        revoke_verdict(versions.folder, versions.keys, versions.ref, Revocation(NOON, "ada", "why"))
    signed = versions.sign()
    revocation = Revocation(NOON, "ada", "why")
    revoke_verdict(versions.folder, versions.keys, versions.ref, revocation)
    assert versions.verdicts.get(versions.ref) == replace(signed, revoked=revocation)


@pytest.mark.parametrize("gate", GateName)
def test_no_verdict_can_be_made_that_leaves_out_a_gate_or_says_that_it_failed(versions, gate):
    gates = dict.fromkeys(GateName, PASSED)
    with pytest.raises(InvalidInputError, match=gate):
        versions.verdict(gates={name: found for name, found in gates.items() if name is not gate})
    with pytest.raises(InvalidInputError, match=gate):
        versions.verdict(gates=gates | {gate: FAILED})
    override = OverrideInForce(gate, "rai", NOON + timedelta(days=1))
    if gate is GateName.FAIRNESS:
        assert versions.verdict(gates=gates | {gate: FAILED}, overrides=(override,)).overrides == (override,)
    else:
        with pytest.raises(InvalidInputError, match="nothing allows that"):
            versions.verdict(gates=gates | {gate: FAILED}, overrides=(override,))


def test_gates_name_the_specification_and_broken_glass_need_not(versions):
    with pytest.raises(InvalidInputError, match="specification_digest"):
        versions.verdict(specification_digest=None)
    glass = versions.verdict(basis=Basis.BREAK_GLASS, specification_digest=None, gates={})
    assert ModelVerdict.from_json(glass.to_json()) == glass


def test_what_nobody_trusted_signed_is_read_only_for_who_knows_better(versions):
    assert unverified_verdict(versions.folder, versions.ref) is None
    signed = versions.sign()
    path = verdict_path(versions.folder, versions.ref)
    document = json.loads(path.read_bytes())
    del document["signature"]
    path.write_text(json.dumps(document))
    assert unverified_verdict(versions.folder, versions.ref) == signed
    with pytest.raises(ArtifactError, match="not signed"):
        versions.verdicts.get(versions.ref)
    for nothing in (b"", b"[]", b'{"schema":"streamrec.model_verdict.v1"}', b'{"schema":"another"}', b"\xff"):
        path.write_bytes(nothing)
        assert unverified_verdict(versions.folder, versions.ref) is None


def test_the_document_of_a_version_is_signed_again_only_as_its_verdict_has_it(versions):
    digest = version_digest(versions.version)
    assert not sign_version_again(versions.folder, versions.keys, versions.ref, digest)
    versions.sign()
    publish_versions(versions.registry, versions.ref, versions.folder, versions.keys)
    path = document_path(versions.folder, versions.ref)
    before = path.read_bytes()
    KeyFolder(versions.keys).rotate()
    assert not sign_version_again(versions.folder, versions.keys, versions.ref, "0" * 64)
    assert path.read_bytes() == before
    assert sign_version_again(versions.folder, versions.keys, versions.ref, digest)
    key = KeyFolder(versions.keys).signing_key_id()
    assert json.loads(path.read_bytes())["signature"]["key_id"] == key
    assert versions.documents.get(versions.ref) == versions.version


@pytest.mark.parametrize("change", [{"slot": "shop.other"}, {"depends_on": {"role": ModelRef("clicks", 1)}}])
def test_all_that_was_registered_is_in_the_digest_and_aliases_are_not(versions, change):
    version = versions.version
    assert version_digest(replace(version, **change)) != version_digest(version)
    versions.registry.set_alias(versions.ref, "champion")
    assert version_digest(versions.registry.get(versions.ref)) == version_digest(version)


HOSTILE = ["../up@1", "a..b@1", "%2e%2e@1", "a\0b@1", "a\\b@1", "a" * 300 + "@1", "-rf@1", "clicks@1.verdict"]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_version_names_no_verdict(name):
    with pytest.raises(InvalidInputError):
        ModelRef.parse(name)
