"""Versions that serve, for tests: judged, signed and promoted as commands do it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from services.recommendations.contracts.stages import MODEL_NAMES
from streamrec.access.identity import Identity
from streamrec.contracts.governance.model_verdict import GateFinding
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.contracts.results import Reason, Verdict, combined
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.operating_policy import ReviewPolicy
from streamrec.governance.deployment import Actor, settle
from streamrec.governance.desk import Desk
from streamrec.governance.eligibility import Eligibility
from streamrec.governance.judgement import Judgement
from streamrec.ledger.ledger import Ledger
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.rollout.traffic_writer import TrafficChanged, TrafficWriter

AUTHOR = Actor(Identity("author", frozenset(ActorRole)), ActorRole.PLATFORM, "it is better")
NOBODY = ReviewPolicy()
ISOLATED = dict.fromkeys(("network", "files", "processes"), "seccomp") | dict.fromkeys(
    ("memory", "time"), "resource limits"
)


def traffic_files(folder: Path) -> TrafficFiles:
    """Of a workspace in ``folder``."""
    return TrafficFiles(folder / "traffic", folder / "keys" / "public")


def desk_of(folder: Path, registry: ModelRegistry, ledger: Ledger) -> Desk:
    """Where decisions of the workspace ``folder`` are made."""
    return Desk(ledger, registry, traffic_files(folder).versions, folder / "keys")


def judgement(
    version: ModelVersion,
    review: ReviewPolicy = NOBODY,
    isolation: dict[str, str] = ISOLATED,
    **verdicts: Verdict,
) -> Judgement:
    """What gates found: all passed, but those that are named."""
    reasons = tuple(
        Reason(f"{gate}_found", f"{gate}.somewhere", f"{gate} has something against it")
        for gate, verdict in verdicts.items()
        if verdict is not Verdict.PASSED
    )
    found = {gate: verdicts.get(gate.value, Verdict.PASSED) for gate in GateName}
    return Judgement(
        model=version.ref,
        slot=version.slot or "",
        owner="shop",
        artifact_digest=version.artifact_digest,
        specification_digest="5" * 64,
        champion=None,
        data_set="",
        verdict=combined(found.values()),
        gates={gate: GateFinding(verdict, "e" * 64) for gate, verdict in found.items()},
        reasons=reasons,
        isolation=isolation,
        isolation_waived=False,
        review=review,
    )


def deploy(desk: Desk, refs: Iterable[ModelRef], by: Actor = AUTHOR) -> list[Eligibility]:
    """Sign verdicts over versions, as a deployment whose gates passed does."""
    return [settle(desk, by, judgement(desk.registry.get(ref))) for ref in refs]


def promote(
    folder: Path,
    registry: ModelRegistry,
    *refs: ModelRef,
    slot: str | None = None,
    ledger: Ledger | None = None,
) -> TrafficChanged:
    """Deploy versions and make them the champions of their slots in the workspace ``folder``."""
    known = MemoryLedger() if ledger is None else ledger
    deploy(desk_of(folder, registry, known), refs)
    return TrafficWriter(traffic_files(folder), folder / "keys", registry, known).promote(
        refs, actor="test", slot=slot
    )


def register_again(source: ModelRegistry, target: ModelRegistry, stage: str, folder: Path) -> ModelRef:
    """Register the files of a stage's first version in another registry, by way of ``folder``."""
    version = source.get(ModelRef(MODEL_NAMES[stage], 1))
    ignored = shutil.ignore_patterns("manifest.json", "MLmodel")
    shutil.copytree(source.fetch(version), folder / stage, ignore=ignored)
    spec = ModelSpec(
        name=version.ref.name,
        signature=version.signature,
        data_fingerprint=version.data_fingerprint,
        settings_fingerprint=version.settings_fingerprint,
        depends_on=version.depends_on,
        slot=version.slot,
    )
    return target.register(spec, folder / stage).ref
