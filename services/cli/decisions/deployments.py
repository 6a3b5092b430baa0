"""`streamrec models deploy`: gates run, the verdict is signed where they passed, and the way back is said."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli.control_plane.connection import ApiOption, connected
from services.cli.rollouts.commands import PlanFileOption, plan_of, say_rollout
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.models import ModelRef

if TYPE_CHECKING:
    from services.cli.control_plane.client import ControlPlaneClient
    from streamrec.command_line.decisions.deploying import Deployed
    from streamrec.contracts.results import Result
    from streamrec.gates.gates_report import GatesReport
    from streamrec.governance.eligibility import Eligibility

_SCHEMA: Final = "streamrec.deployment.v1"
_SIGNED: Final = ("eligible", "awaiting review")
"""Standings of a version that passed its gates (`streamrec.governance.eligibility.Standing`)."""

_LOOK_EVERY_S: Final = 1.0


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
    plan_file: PlanFileOption = None,
    rollout: Annotated[
        bool, typer.Option("--rollout/--no-rollout", help="Whether to roll out what may serve then.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the verdicts to this file.")
    ] = None,
    api: ApiOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Ask for versions to serve: gates judge them; what passes is signed, then rolled out or reviewed."""
    from streamrec.command_line.results import finish, write_result

    plan = plan_of(plan_file)
    if api is not None:
        if data is not None or data_set is not None:
            raise typer.BadParameter(
                "is for a workspace, and --api names a control plane", param_hint="--data"
            )
        with connected(api, workspace) as control:
            _deploy_there(control, control.deploy(models, reason, rollout=rollout, plan=plan), json_file)
        return
    found = _deploy_here(models, reason, data, data_set, Workspace(workspace))
    result = _result(found)
    if json_file is not None:
        write_result(result, json_file)
    if rollout and all(one.found.eligible for one in found):
        with connected(None, workspace) as control:
            name = str(control.start(models, reason, plan=plan)["rollout"])
            control.drive()
            say_rollout(control, name)
    finish(result)


def _deploy_here(
    models: Sequence[str], reason: str, data: Path | None, data_set: str | None, place: Workspace
) -> list[Deployed]:
    """Run the gates in this process, and say what they find as they do."""
    from rich.console import Console

    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.decisions.deploying import deploy_version, evaluation_data
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.command_line.decisions.standings import read_standings
    from streamrec.command_line.progress import shown_progress
    from streamrec.gates.registered_versions import specification_of

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
    with evaluation_data(place, data, [specification for *_, specification in asked]) as folder:
        name = data_set or (None if folder is None else folder.name)
        for version, by, _ in asked:
            typer.echo(f"{version.ref}: gates")
            with shown_progress(Console(stderr=True)) as progress:
                found.append(deploy_version(place, desk, by, version, progress, data=folder, data_set=name))
            _say(found[-1].report, found[-1].found)
    return found


def _deploy_there(control: ControlPlaneClient, deployment: Mapping[str, Any], json_file: Path | None) -> None:
    """Have a control plane run the gates, and say what it finds as it does."""
    from streamrec.command_line.results import finish

    said = 0
    while True:
        lines = deployment["lines"]
        for line in lines[said:]:
            typer.echo(f"  {line}")
        said = len(lines)
        if deployment["stage"] not in ("waiting", "running"):
            break
        time.sleep(_LOOK_EVERY_S)
        deployment = control.deployment(int(deployment["number"]))
    for one in deployment["found"]:
        for gate in one["gates"]["gates"]:
            typer.echo(f"  {gate['gate']}: {gate['verdict']}")
        typer.echo(f"{one['model']} is {one['standing']}\nnext: {one['next']}")
    if deployment["problem"]:
        typer.echo(deployment["problem"], err=True)
    if deployment["rollout"] is not None:
        say_rollout(control, deployment["rollout"])
    finish(_result_there(deployment), json_file)


def _result_there(deployment: Mapping[str, Any]) -> Result:
    from streamrec.contracts.results import Reason, Result, Verdict, combined

    verdicts = [
        Verdict.PASSED if one["standing"] in _SIGNED else Verdict(one["verdict"])
        for one in deployment["found"]
    ]
    reasons = [
        Reason(reason["code"], reason["path"], reason["message"])
        for one in deployment["found"]
        for reason in one["gates"]["reasons"]
    ]
    if deployment["problem"]:
        verdicts.append(Verdict.ERROR)
        reasons.append(Reason("not_done", "deployment", " ".join(deployment["problem"].split())[:1_000]))
    return Result(_SCHEMA, combined(verdicts), tuple(reasons[:1_000]), {"models": list(deployment["found"])})


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

    verdicts: list[Verdict] = []
    reasons: list[Reason] = []
    for one in deployed:
        signed = one.found.standing.value in _SIGNED
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
    return Result(_SCHEMA, combined(verdicts), tuple(reasons[:1_000]), {"models": contents})
