"""Asking for a version: its gates run, and what they found is settled in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from streamrec.contracts.progress import Progress
    from streamrec.contracts.specification.model_specification import ModelSpecification
    from streamrec.gates.gates_report import GatesReport
    from streamrec.governance.deployment import Actor
    from streamrec.governance.desk import Desk
    from streamrec.governance.eligibility import Eligibility
    from streamrec.registry.model_registry import ModelVersion


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of a version that somebody asked for.

    Attributes:
        report: What the gates found.
        found: Where it stands now.
    """

    report: GatesReport
    found: Eligibility


def deploy_version(
    workspace: Workspace,
    desk: Desk,
    by: Actor,
    version: ModelVersion,
    progress: Progress,
    *,
    data: Path | None = None,
    data_set: str | None = None,
    in_service: bool = False,
) -> Deployed:
    """Run all gates over a version, write down what they found, and sign its verdict where they passed.

    Args:
        workspace: Where everything lies.
        desk: Where decisions of the workspace are made.
        by: Who asks, and why.
        version: For which version.
        progress: Hears of every gate.
        data: The data folder, for a specification whose requests or features are functions of one.
        data_set: Its name, by which specifications have rules of their own.
        in_service: Whether this is a process of the platform, whose environment is the platform's own. In
            anybody else's, the setting by which gates run without isolation is for the platform role alone.

    Raises:
        NotFoundError: The version has no specification.
        PermissionDeniedError: Isolation is waived by somebody who may not.
        StreamRecError: See `judge_version` and `settle`.
    """
    from streamrec.access.permissions import role_for
    from streamrec.command_line.judging import isolation_waived, judge_version
    from streamrec.gates.registered_versions import specification_of
    from streamrec.governance.deployment import settle
    from streamrec.governance.judgement import Judgement

    if isolation_waived() and not in_service:
        role_for(by.identity, "gates without isolation")
    specification = specification_of(version)
    report = judge_version(workspace, version.ref, progress, now=desk.clock(), data=data, data_set=data_set)
    judgement = Judgement.of(
        report,
        slot=specification.slot,
        owner=specification.owner,
        artifact_digest=version.artifact_digest,
        review=specification.review,
    )
    return Deployed(report, settle(desk, by, judgement, report.to_json()))


@contextmanager
def evaluation_data(
    workspace: Workspace, imported: Path | None, specifications: Sequence[ModelSpecification]
) -> Iterator[Path | None]:
    """The data folder that versions are judged on; None where all of them bring their own requests.

    Args:
        workspace: Where everything lies.
        imported: The imported data; the workspace's own where None.
        specifications: Of the versions.

    Raises:
        DataFolderError: It is needed, and there is none, or it cannot be used.
    """
    if not any(one.evaluation.is_function or one.skew.features for one in specifications):
        yield imported
        return
    from streamrec.command_line.training_data import training_data_folder

    with training_data_folder(workspace, imported=imported) as folder:
        yield folder
