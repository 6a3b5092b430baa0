"""`streamrec reviews`, `streamrec overrides`, `streamrec remediations`: people decide about others' work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.gate_names import GateName

if TYPE_CHECKING:
    from streamrec.governance.eligibility import Eligibility

reviews = typer.Typer(
    help="Versions that wait for a second pair of eyes: list, approve, reject.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
overrides = typer.Typer(
    help="Gates that somebody answers for, for a stated time: list, grant, end.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
remediations = typer.Typer(
    help="Plans to mend what failed its audit, overdue ones first: list, close.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ModelArgument = Annotated[str, typer.Argument(metavar="NAME@VERSION")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]
NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="As the list shows it.")]


@reviews.command("list")
def list_reviews(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List the versions that wait for somebody to agree, the oldest first."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.governance.people import waiting_reviews

    place = Workspace(workspace)
    actor_for(place, "reviews list", "")
    rows = [
        (
            str(review.found.ref),
            f"{review.asked_at:%Y-%m-%d %H:%M}Z",
            f"{review.asked_by}: {review.reason or '-'}",
            "; ".join(review.found.why),
            "; ".join(review.found.marks) or "-",
        )
        for review in waiting_reviews(open_desk(place))
    ]
    if not rows:
        typer.echo("no version waits for a review")
        return
    columns = ("version", "asked", "by", "waits for", "note")
    stdout_console().print(table("Waiting for a review", columns, rows))


@reviews.command("approve")
def approve(
    model: ModelArgument, reason: ReasonOption, workspace: WorkspaceOption = DEFAULT_WORKSPACE
) -> None:
    """Agree that a version of somebody else may serve."""
    _review(workspace, model, reason, approve=True)


@reviews.command("reject")
def reject(
    model: ModelArgument, reason: ReasonOption, workspace: WorkspaceOption = DEFAULT_WORKSPACE
) -> None:
    """Say no to a version of somebody else, and why."""
    _review(workspace, model, reason, approve=False)


@overrides.command("list")
def list_overrides(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List every override, those in force first."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.governance.overrides import KINDS, overrides_of
    from streamrec.governance.records import read_records

    place, now = Workspace(workspace), datetime.now(UTC)
    actor_for(place, "overrides list", "")
    found = overrides_of(read_records(open_desk(place).ledger, kinds=KINDS))
    rows = [
        (
            str(override.number),
            override.model,
            override.gate.value,
            f"{override.by}: {override.reason}",
            f"{override.until:%Y-%m-%d %H:%M}Z",
            "in force" if override.in_force(now) else "ended",
        )
        for override in sorted(found, key=lambda one: (not one.in_force(now), one.until))
    ]
    if not rows:
        typer.echo("no gate was ever overridden")
        return
    columns = ("number", "version", "gate", "by", "until", "state")
    stdout_console().print(table("Overrides", columns, rows))


@overrides.command("grant")
def grant(
    model: ModelArgument,
    reason: ReasonOption,
    days: Annotated[float, typer.Option("--days", min=0.01, max=90.0, help="After which it ends by itself.")],
    gate: Annotated[GateName, typer.Option("--gate", help="Which gate.")] = GateName.FAIRNESS,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Answer for a gate that did not pass. The next deployment of the version takes it into account."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.governance.people import grant_override

    place = Workspace(workspace)
    by = actor_for(place, "overrides grant", reason)
    until = datetime.now(UTC) + timedelta(days=days)
    found = grant_override(open_desk(place), by, ModelRef.parse(model), gate, until)
    typer.echo(f"{found.ref}: {gate} is answered for by {by.identity.actor} until {until:%Y-%m-%d %H:%M}Z")
    typer.echo(f"next: streamrec models deploy {found.ref} --reason ...")


@overrides.command("end")
def end(number: NumberArgument, reason: ReasonOption, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """End an override before its time."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.governance.people import end_override

    place = Workspace(workspace)
    _say(end_override(open_desk(place), actor_for(place, "overrides end", reason), number))


@remediations.command("list")
def list_remediations(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List every plan: overdue ones first, then open ones by due date, then closed ones."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.command_line.tables import stdout_console, table
    from streamrec.governance.records import read_records
    from streamrec.governance.remediations import KINDS, open_first, remediations_of

    place, now = Workspace(workspace), datetime.now(UTC)
    actor_for(place, "remediations list", "")
    plans = open_first(remediations_of(read_records(open_desk(place).ledger, kinds=KINDS)), now)
    if not plans:
        typer.echo("no audit ever failed")
        return
    rows = [
        (
            str(plan.number),
            plan.model,
            plan.owner,
            plan.what,
            f"{plan.due:%Y-%m-%d}",
            "OVERDUE"
            if plan.overdue(now)
            else "open"
            if plan.closed_at is None
            else f"closed by {plan.closed_by}: {plan.outcome}",
        )
        for plan in plans
    ]
    columns = ("number", "about", "owner", "what", "due", "state")
    stdout_console().print(table("Remediation plans", columns, rows))


@remediations.command("close")
def close(
    number: NumberArgument, reason: ReasonOption, workspace: WorkspaceOption = DEFAULT_WORKSPACE
) -> None:
    """Close a plan, saying what came of it."""
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.governance.people import close_remediation

    place = Workspace(workspace)
    by = actor_for(place, "remediations close", reason)
    plan = close_remediation(open_desk(place), by, number)
    typer.echo(f"remediation {plan.number} of {plan.model} is closed: {reason}")


def _review(workspace: Path, model: str, reason: str, *, approve: bool) -> None:
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.governance.people import review

    place = Workspace(workspace)
    by = actor_for(place, f"reviews {'approve' if approve else 'reject'}", reason)
    _say(review(open_desk(place), by, ModelRef.parse(model), approve=approve))


def _say(found: Eligibility) -> None:
    why = f": {found.in_short}" if found.why else ""
    typer.echo(f"{found.ref} is {found.standing}{why}")
    typer.echo(f"next: {found.way_back}")
