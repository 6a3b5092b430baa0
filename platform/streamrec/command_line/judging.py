"""The gates over a workspace's versions: on which data, beside which version, and where reports are kept."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamrec.command_line.composition import champion_versions, open_registry
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import InvalidInputError, NotReadyError

if TYPE_CHECKING:
    from streamrec.contracts.models import ModelRef
    from streamrec.contracts.progress import Progress
    from streamrec.contracts.specification.model_specification import ModelSpecification
    from streamrec.gates.all_gates import Traffic
    from streamrec.gates.gates_report import GatesReport
    from streamrec.gates.runner import GateRunner
    from streamrec.registry.model_registry import ModelRegistry, ModelVersion

WAIVER_VARIABLE: Final = "STREAMREC_GATES_WITHOUT_ISOLATION"
"""``allowed``: the platform role lets gates pass where nothing isolates them. Every verdict shows it."""

REPORT: Final = "gates"
LOGGED_DAYS: Final = 7
"""How far back logged traffic is compared."""


def isolation_waived() -> bool:
    """Whether the platform's setting allows gates without isolation.

    Raises:
        InvalidInputError: The setting has another value than ``allowed``.
    """
    value = os.environ.get(WAIVER_VARIABLE, "")
    if value not in ("", "allowed"):
        raise InvalidInputError(WAIVER_VARIABLE, f"must be 'allowed' or not be set, not {value!r}")
    return value == "allowed"


def open_gate_runner() -> GateRunner:
    """What runs the programs of gates on this machine."""
    from streamrec.gates.isolation.subprocess_runner import SubprocessRunner

    return SubprocessRunner()


def judge_version(
    workspace: Workspace,
    ref: ModelRef,
    progress: Progress,
    *,
    now: datetime,
    data: Path | None = None,
    data_set: str | None = None,
) -> GatesReport:
    """Run all gates over a registered version, beside the champion of its slot, and keep the report.

    Args:
        workspace: Where everything lies.
        ref: The version.
        progress: Where progress is shown.
        now: The time of the report.
        data: The data folder, for specifications whose requests or features are functions of one.
        data_set: Its name, by which specifications have rules of their own.

    Raises:
        NotFoundError: There is no such version, or it has no specification.
        ArtifactError: A file is not the one that was registered.
        InvalidInputError: Its evaluation data cannot be used.
        DependencyError: The registry does not answer.
    """
    from streamrec.gates.all_gates import run_gates
    from streamrec.gates.evaluation_data import load_evaluation_data
    from streamrec.gates.registered_versions import (
        champion_beside,
        registered_contender,
        write_attachments,
    )

    registry, runner = open_registry(workspace), open_gate_runner()
    version = registry.get(ref)
    candidate = registered_contender(version, registry, data)
    champion = _champion(workspace, registry, candidate.specification.slot)
    with tempfile.TemporaryDirectory(prefix="streamrec-evaluation-") as temporary:
        write_attachments(version, registry, Path(temporary))
        evaluation = load_evaluation_data(
            candidate.specification, runner, folder=Path(temporary), data=data, data_set=data_set
        )
    report = run_gates(
        candidate,
        None if champion is None else champion_beside(candidate, champion, registry),
        evaluation,
        traffic_of(workspace, candidate.specification, now),
        runner,
        progress,
        isolation_waived=isolation_waived(),
    )
    keep_report(registry, ref, report)
    return report


def judge_versions(
    workspace: Workspace,
    refs: Sequence[ModelRef],
    progress: Progress,
    *,
    now: datetime,
    imported: Path | None = None,
) -> tuple[GatesReport, ...]:
    """Judge versions one after the other on what the workspace trains on: imported data and event log.

    What is served includes what users did since the import, so what it is held against does too.

    Args:
        workspace: Where everything lies.
        refs: The versions.
        progress: Where progress is shown.
        now: The time of the reports.
        imported: The imported data, where the workspace holds several folders; its name is that of the data
            set.

    Raises:
        DataFolderError: There is no imported data, several folders of it, or it cannot be used.
        NotFoundError, ArtifactError, InvalidInputError, DependencyError: As `judge_version`.
    """
    from streamrec.command_line.training_data import training_data_folder

    with training_data_folder(workspace, imported=imported) as data:
        return tuple(
            judge_version(workspace, ref, progress, now=now, data=data, data_set=data.name) for ref in refs
        )


def keep_report(registry: ModelRegistry, ref: ModelRef, report: GatesReport) -> None:
    """Keep a report at the version's run, for programs and for people; every run of the gates has its own."""
    from streamrec.gates.reports.html import render_report

    name = f"{REPORT}-{report.at:%Y%m%dt%H%M%S}"
    registry.attach(ref, f"{name}.json", json.dumps(report.to_json(), indent=2).encode())
    registry.attach(ref, f"{name}.html", render_report(report).encode())


def traffic_of(workspace: Workspace, specification: ModelSpecification, now: datetime) -> Traffic:
    """What the event log holds of a slot, and the online store where there is one."""
    from streamrec.events.reader import FileEventReader
    from streamrec.events.time_range import TimeRange
    from streamrec.gates.all_gates import Traffic
    from streamrec.gates.skew.logged_requests import read_logged_requests

    window = TimeRange(now - timedelta(days=LOGGED_DAYS), now)
    logged = read_logged_requests(FileEventReader(workspace.events), specification.slot, window)
    if specification.skew.features is None:
        return Traffic(now, logged)
    from streamrec.command_line.composition import open_feature_store
    from streamrec.gates.skew.evidence import online_user_features

    try:
        store = open_feature_store(workspace)
    except NotReadyError:
        return Traffic(now, logged)
    return Traffic(now, logged, lambda units: online_user_features(store, units))


def needed_now(registry: ModelRegistry, needs: Mapping[str, str]) -> dict[str, ModelVersion]:
    """The newest version of each model that a folder's specification needs, by role.

    Raises:
        InvalidInputError: One has no version.
    """
    found = {}
    for role, name in needs.items():
        versions = registry.versions(name)
        if not versions:
            raise InvalidInputError(f"needs.{role}", f"{name} has no registered version; register it first")
        found[role] = versions[0]
    return found


def _champion(workspace: Workspace, registry: ModelRegistry, slot: str) -> ModelVersion | None:
    """The version that serves in a slot, which may be the candidate itself; None where none does."""
    ref = champion_versions(workspace).get(slot)
    return None if ref is None else registry.get(ref)
