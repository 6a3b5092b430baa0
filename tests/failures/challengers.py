"""Versions that ask to serve, named in the traffic document without a rollout, for tests of what serves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from services.recommendations.contracts.stages import MODEL_NAMES, SLOTS
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.contracts.rollouts.tallies import Answers
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import ReplicaHeartbeat, SlotTraffic, Traffic, assigned
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.mlflow_registry import MlflowModelRegistry
from streamrec.registry.signed_versions import publish_versions
from streamrec.rollout.heartbeats import HEARTBEAT_SILENCE_S, FileHeartbeats
from streamrec.rollout.tallies import FileTallies
from tests.integration.serving.conftest import Workspace
from tests.promoted import deploy, desk_of, traffic_files

SALT: Final = "trial"
HOLDER: Final = "trial-1"
PATIENCE_S: Final = 60.0
NOTHING: Final = Answers()


class Trials:
    """The traffic of a workspace whose registry is its own, and its challengers."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.folder
        self.files = traffic_files(workspace.folder)
        self._registry = MlflowModelRegistry(workspace.registry)
        self._keys = workspace.folder / "keys"
        self._ledger = MemoryLedger()
        self._publisher = self.files.open_publisher(self._keys)

    def register(self, stage: str, change: Callable[[Path], None] = lambda _folder: None) -> ModelRef:
        """Another version of a stage's model, of the files of the first one; eligible and published."""
        first = self._registry.get(ModelRef(MODEL_NAMES[stage], 1))
        number = sum(1 for _ in self.folder.glob(f"again-{stage}-*"))
        files = self.folder / f"again-{stage}-{number}"
        ignored = shutil.ignore_patterns("manifest.json", "MLmodel")
        shutil.copytree(self._registry.fetch(first), files, ignore=ignored)
        for path in (files, *files.rglob("*")):
            path.chmod(0o755)
        for path in files.glob("*.json"):
            # A blank line more says nothing, and makes it other bytes.
            path.write_text(path.read_text() + "\n" * (number + 1))
        change(files)
        spec = ModelSpec(
            name=first.ref.name,
            signature=first.signature,
            data_fingerprint=first.data_fingerprint,
            settings_fingerprint=first.settings_fingerprint,
            depends_on=first.depends_on,
            slot=first.slot,
        )
        ref = self._registry.register(spec, files).ref
        deploy(desk_of(self.folder, self._registry, self._ledger), [ref])
        publish_versions(self._registry, ref, self.files.versions, self._keys)
        return ref

    def traffic(self) -> Traffic:
        """What is published."""
        published = self._publisher.published()
        assert published is not None
        return published.value

    def publish(
        self, slots: Mapping[str, Mapping[str, Any]], prepare: tuple[ModelRef, ...] = (), **every: Any
    ) -> int:
        """Publish the document with some fields of some slots changed; returns its revision."""
        now = self.traffic()
        changed = dict(now.slots)
        for stage, fields in slots.items():
            before = {name: getattr(changed[SLOTS[stage]], name) for name in SlotTraffic.__slots__}
            changed[SLOTS[stage]] = SlotTraffic(**(before | every | fields))
        body = Traffic(1, changed, prepare).to_json()
        del body["schema"], body["revision"]
        return self._publisher.publish(body, expected_revision=now.revision).revision

    def name(self, stage: str, ref: ModelRef | None, weight_bp: int = 0, shadow_bp: int = 0) -> int:
        """Name a challenger of a stage, or none."""
        holder = None if ref is None else HOLDER
        slot = {
            "challenger": ref,
            "weight_bp": weight_bp,
            "shadow_bp": shadow_bp,
            "salt": SALT,
            "holder": holder,
        }
        return self.publish({stage: slot})

    def heartbeats(self, stage: str, role: ServingRole) -> list[ReplicaHeartbeat]:
        """What the replicas of a stage and role said last, of those that are not silent."""
        return [
            beat
            for beat in FileHeartbeats(self.files.heartbeats).read()
            if beat.slot == SLOTS[stage]
            and beat.role is role
            # One that was killed leaves its last one behind.
            and (datetime.now(UTC) - beat.at).total_seconds() <= HEARTBEAT_SILENCE_S
        ]

    def challenger(self, stage: str, revision: int) -> ReplicaHeartbeat | None:
        """What a challenger replica says that has seen a revision; None where none has."""
        beats = self.heartbeats(stage, ServingRole.CHALLENGER)
        return next((beat for beat in beats if (beat.revision or 0) >= revision), None)

    def wait_until_loaded(
        self, stage: str, ref: ModelRef, role: ServingRole = ServingRole.CHALLENGER
    ) -> float:
        """Wait until all replicas of a stage and role have a version, one at least; returns how long, s."""
        began_s = time.monotonic()

        def loaded() -> bool:
            beats = self.heartbeats(stage, role)
            return bool(beats) and all(ref in beat.loaded for beat in beats)

        wait_for(loaded, f"{ref} is loaded")
        return time.monotonic() - began_s

    def answers(self, stage: str, ref: ModelRef, role: ServingRole) -> Answers:
        """What all gateways have counted of a version in a role."""
        rows = [row for tally in FileTallies(self.files.tallies).read() for row in tally.rows]
        return sum(
            (
                row.answers
                for row in rows
                if row.slot == SLOTS[stage] and row.version == ref and row.role is role
            ),
            NOTHING,
        )

    def users(self, stage: str, role: ServingRole, users: list[str]) -> list[str]:
        """Those of some users who are answered in this role."""
        slot = self.traffic().slots[SLOTS[stage]]
        return [user for user in users if assigned(slot, user)[0] is role]


def wait_for(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.05)
