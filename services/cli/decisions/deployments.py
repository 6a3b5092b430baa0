"""`streamrec models deploy`: gates run, the verdict is signed where they passed, and the way back is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.models import ModelRef

if TYPE_CHECKING:
    from streamrec.command_line.decisions.deploying import Deployed
    from streamrec.contracts.results import Result
    from streamrec.contracts.specification.model_specification import ModelSpecification
    from streamrec.gates.gates_report import GatesReport
    from streamrec.governance.eligibility import Eligibility


def deploy(
    models: Annotated[
        list[str],
        typer.Argument(metavar="NAME@VERSION...", help="As 'streamrec models list' shows them."),
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the ledger and for whoever reviews.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            file_okay=False,
            help="Imported data, for versions that are judged on a data folder. None: the workspace's own.",
        ),
    ] = None,
    data_set: Annotated[
        str | None, typer.Option("--data-set", help="Its name, where model.yaml has rules for it.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the verdicts to this file.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Ask for versions to serve: gates judge them; what passes is signed, and may be promoted or reviewed."""
    from rich.console import Console

    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.decisions.deploying import deploy_version
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.command_line.decisions.standings import read_standings
    from streamrec.command_line.progress import shown_progress
    from streamrec.command_line.results import finish
    from streamrec.gates.registered_versions import specification_of

    place = Workspace(workspace)
    registry = open_registry(place)
    desk = open_desk(place, registry)
    asked = []
    for model in models:
        version = registry.get(ModelRef.parse(model))
        by = actor_for(place, "models deploy", reason, version.slot)
        asked.append((version, by, specification_of(version)))
    for line in read_standings(place).overdue():
        typer.echo(line, err=True)
    found: list[Deployed] = []
    with _evaluation_data(place, data, [specification for *_, specification in asked]) as folder:
        name = data_set or (None if folder is None else folder.name)
        for version, by, _ in asked:
            typer.echo(f"{version.ref}: gates")
            with shown_progress(Console(stderr=True)) as progress:
                found.append(deploy_version(place, desk, by, version, progress, data=folder, data_set=name))
            _say(found[-1].report, found[-1].found)
    finish(_result(found), json_file)


@contextmanager
def _evaluation_data(
    place: Workspace, imported: Path | None, specifications: Sequence[ModelSpecification]
) -> Iterator[Path | None]:
    """The data folder that versions are judged on; None where all of them bring their own requests."""
    if not any(one.evaluation.is_function or one.skew.features for one in specifications):
        yield imported
        return
    from streamrec.command_line.training_data import training_data_folder

    with training_data_folder(place, imported=imported) as folder:
        yield folder


def _say(report: GatesReport, found: Eligibility) -> None:
    for result in report.results:
        typer.echo(f"  {result.content['gate']}: {result.verdict}")
        for reason in result.reasons:
            typer.echo(f"    {reason.path}: {reason.message}" if reason.path else f"    {reason.message}")
    if report.champion is None:
        typer.echo("  nothing serves in its slot: absolute floors decided, not a comparison")
    if report.isolation_waived and not report.isolation.isolated:
        typer.echo("  WITHOUT ISOLATION: the platform's setting allowed it, and the verdict says so")
    marks = f" ({'; '.join(found.marks)})" if found.marks else ""
    typer.echo(f"{found.ref} is {found.standing}{marks}")
    typer.echo(f"next: {found.way_back}")


def _result(deployed: Sequence[Deployed]) -> Result:
    """All verdicts as one: passed where every version may be promoted or waits for its review alone."""
    from streamrec.contracts.results import Reason, Result, Verdict, combined
    from streamrec.governance.eligibility import Standing

    verdicts: list[Verdict] = []
    reasons: list[Reason] = []
    for one in deployed:
        signed = one.found.standing in (Standing.ELIGIBLE, Standing.AWAITING_REVIEW)
        verdicts.append(Verdict.PASSED if signed else one.report.verdict)
        reasons += one.report.result.reasons
    contents = [
        {
            "model": str(one.found.ref),
            "standing": one.found.standing.value,
            "next": one.found.way_back,
            "marks": list(one.found.marks),
            "gates": one.report.to_json(),
        }
        for one in deployed
    ]
    return Result("streamrec.deployment.v1", combined(verdicts), tuple(reasons[:1_000]), {"models": contents})
