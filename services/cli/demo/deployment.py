"""The demo's versions before the gates: as any team's, by `streamrec models deploy`.

A small world, or data that says little, may not be enough for a gate to pass. Then the demo breaks the glass
for the version, which it says here, and which stands in the ledger and shows wherever the version does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from streamrec.access.identity import Identity
from streamrec.command_line.composition import open_registry
from streamrec.command_line.decisions.deploying import deploy_version
from streamrec.command_line.decisions.desk import open_desk, promote_unjudged
from streamrec.command_line.training_data import training_data_folder
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.canonical_json import one_line
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.progress import Progress
from streamrec.governance.deployment import Actor
from streamrec.governance.eligibility import Eligibility, Standing
from streamrec.registry.model_registry import ModelVersion
from streamrec.rollout.traffic_writer import TrafficChanged

_ACTOR: Final = "demo"
_SETTLED: Final = (Standing.ELIGIBLE, Standing.BREAK_GLASS)
"""An earlier run has asked: versions do not change, and neither does what was found."""


@dataclass(frozen=True)
class DeployedStage:
    """What the gates said of a version.

    Attributes:
        found: Where it stood when they had run.
        seconds: How long they took; 0 where an earlier run had asked.
    """

    found: Eligibility
    seconds: float

    @property
    def words(self) -> str:
        """For people, in one line."""
        line = f"{self.found.ref} is {self.found.standing}"
        if self.found.eligible:
            return line
        return one_line(f"{line}: {self.found.in_short}. The demo breaks the glass, and it shows")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        judgement = self.found.judgement
        gates = {} if judgement is None else judgement.gates
        return {
            "model": str(self.found.ref),
            "standing": self.found.standing.value,
            "why": list(self.found.why),
            "champion": None if judgement is None or judgement.champion is None else str(judgement.champion),
            "gates": {gate.value: finding.verdict.value for gate, finding in gates.items()},
            "seconds": round(self.seconds, 1),
        }


def deploy_stages(
    workspace: Workspace,
    versions: Sequence[ModelVersion],
    imported: Path,
    reason: str,
    console: Console,
    progress: Progress,
) -> list[DeployedStage]:
    """Run the gates over the versions that have a slot, one after the other.

    Args:
        workspace: The demo's own.
        versions: What was trained; what has no slot never serves, and is not judged.
        imported: The data folder; what the event log holds is added to it.
        reason: Why they are asked for, for the ledger.
        console: Hears of each version in one line.
        progress: Hears of every gate.

    Raises:
        StreamRecError: See `deploy_version`.
    """
    desk = open_desk(workspace, open_registry(workspace))
    by = Actor(Identity(_ACTOR, frozenset({ActorRole.PLATFORM})), ActorRole.PLATFORM, reason)
    deployed = []
    with training_data_folder(workspace, imported=imported) as data:
        for version in versions:
            if version.slot is None:
                continue
            found, began = desk.eligibility(version.ref), time.monotonic()
            if found.standing not in _SETTLED:
                asked = deploy_version(workspace, desk, by, version, progress, data=data, data_set=data.name)
                found = asked.found
                deployed.append(DeployedStage(found, time.monotonic() - began))
            else:
                deployed.append(DeployedStage(found, 0.0))
            console.print(f"  {deployed[-1].words}", markup=False, highlight=False)
    return deployed


def promote_stages(workspace: Workspace, versions: Sequence[ModelVersion], reason: str) -> TrafficChanged:
    """Make the versions that have a slot its champions, in one revision; what serves already stays."""
    refs = [version.ref for version in versions if version.slot is not None]
    return promote_unjudged(workspace, refs, _ACTOR, reason)
