"""`streamrec models audit`: fairness of predictions, of an endpoint, or of what was served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption
from streamrec.contracts.errors import InvalidInputError

if TYPE_CHECKING:
    from streamrec.contracts.results import Result
    from streamrec.contracts.specification.fairness_policy import FairnessPolicy
    from streamrec.gates.fairness.evidence import FairnessEvidence

_SECONDS_AN_ANSWER = 30.0


def audit(
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="CSV file with labels, scores and groups.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Column that holds what was true: 0 or 1.")
    ] = None,
    score: Annotated[str | None, typer.Option("--score", help="Column that holds the model's score.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", help="A score from here on is a yes; default: 0.5 where scores are chances."
        ),
    ] = None,
    groups: Annotated[
        str | None, typer.Option("--groups", help="Columns of groups, joined by commas: sex,age_band.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", help="Fairness policy (YAML), as in a model.yaml; default: 0.1 for each rate."
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint", help="Ask this model: http://HOST/v2/models/NAME (Open Inference Protocol)."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="With --endpoint: CSV file of questions. With --slot: data folder of users and items.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features", help="With --endpoint: columns in the order of its one input; default: all."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="With --endpoint: the output that holds the score.")
    ] = None,
    slot: Annotated[
        str | None,
        typer.Option("--slot", help="Audit what was served in this slot, all models of it together."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="With --slot: the event log; default: the workspace's.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="With --slot: answers from this time on (ISO 8601, UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="With --slot: answers before this time.")] = None,
    record: Annotated[
        str | None,
        typer.Option(
            "--record",
            metavar="REASON",
            help="With --slot: write it into the ledger; a failed audit opens a remediation plan.",
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a report for people here (Evidently).")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Judge whether groups of people are treated alike, by confidence bounds.

    One of --predictions FILE, --endpoint URL with --data FILE, or --slot SLOT. Ends with 0 where every
    difference is shown to be tolerable, 3 where one is not, 4 where more rows are needed.
    """
    from streamrec.command_line.decisions.desk import actor_for, open_desk
    from streamrec.command_line.results import finish
    from streamrec.gates.fairness.judgement import judge_audit
    from streamrec.governance.audits import record_audit

    named = [option for option, value in _kinds(predictions, endpoint, slot) if value is not None]
    if len(named) != 1:
        given = f", not {' and '.join(named)}" if named else ""
        raise InvalidInputError("audit", f"takes one of --predictions, --endpoint and --slot{given}")
    if record is not None and slot is None:
        raise InvalidInputError("--record", "goes with --slot: what serves is what somebody answers for")
    by = None if record is None else actor_for(Workspace(workspace), "models audit", record)
    if predictions is not None:
        evidence = _of_file(predictions, label, score, groups, policy, threshold)
    elif endpoint is not None:
        evidence = _of_endpoint(endpoint, data, label, groups, policy, threshold, features, output)
    else:
        evidence = _of_slot(str(slot), log, since, until, groups, policy, data, Workspace(workspace))
    result = judge_audit(evidence)
    _show(result)
    if by is not None:
        opened = record_audit(open_desk(Workspace(workspace)), by, str(slot), result)
        plan = "; a remediation plan is open: streamrec remediations list" if opened else ""
        typer.echo(f"written into the ledger{plan}")
    if html_file is not None:
        from streamrec.monitoring.evidently_reports import write_fairness_report

        write_fairness_report(result, html_file)
        typer.echo(f"Report in {html_file}")
    finish(result, json_file)


def _kinds(
    predictions: Path | None, endpoint: str | None, slot: str | None
) -> tuple[tuple[str, object], ...]:
    return (("--predictions", predictions), ("--endpoint", endpoint), ("--slot", slot))


def _required(option: str, value: str | None, what: str) -> str:
    if not value:
        raise InvalidInputError(option, f"is missing: {what}")
    return value


def _names(option: str, text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInputError(option, f"names {twice!r} twice")
    return names


def _policy(path: Path | None, groups: list[str]) -> FairnessPolicy:
    """The file's policy; without one, that of an audit over the named groups."""
    from streamrec.contracts.json_documents import read_document
    from streamrec.contracts.specification.fairness_policy import FairnessPolicy
    from streamrec.contracts.specification.safe_yaml import parse_yaml
    from streamrec.gates.fairness.audited_rows import default_policy

    if path is None:
        if not groups:
            raise InvalidInputError("--groups", "is missing: name the columns whose groups are compared")
        return default_policy(groups)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInputError("--policy", f"{path} cannot be read ({error.strerror})") from error
    policy = read_document(FairnessPolicy, parse_yaml(content), path="policy")
    unknown = next((name for name in groups if name not in policy.attributes), None)
    if unknown is not None:
        raise InvalidInputError(
            "--groups", f"{unknown!r} is no attribute of the policy ({', '.join(policy.attributes)})"
        )
    return policy


def _of_file(
    path: Path,
    label: str | None,
    score: str | None,
    groups: str | None,
    policy_file: Path | None,
    threshold: float | None,
) -> FairnessEvidence:
    from streamrec.gates.fairness.audited_rows import audit_rows
    from streamrec.gates.fairness.csv_rows import audited_chunks, header_of

    named = _names("--groups", groups)
    policy = _policy(policy_file, named)
    there = header_of(path)
    columns = named or [name for name in policy.attributes if name in there]
    chunks = audited_chunks(
        path,
        label=_required("--label", label, "the column that holds what was true"),
        score=_required("--score", score, "the column that holds the model's score"),
        groups=columns,
    )
    return audit_rows(path.name, chunks, policy, threshold)


def _of_endpoint(
    url: str,
    path: Path | None,
    label: str | None,
    groups: str | None,
    policy_file: Path | None,
    threshold: float | None,
    features: str | None,
    output: str | None,
) -> FairnessEvidence:
    import httpx

    from streamrec.gates.fairness.audited_rows import audit_rows
    from streamrec.gates.fairness.csv_rows import header_of
    from streamrec.gates.fairness.endpoint_rows import InferenceEndpoint, endpoint_chunks

    if path is None:
        raise InvalidInputError("--data", "is missing: a CSV file of what the endpoint is asked")
    named = _names("--groups", groups)
    policy = _policy(policy_file, named)
    there = header_of(path)
    with httpx.Client(timeout=_SECONDS_AN_ANSWER) as client:
        chunks = endpoint_chunks(
            InferenceEndpoint(url, client),
            path,
            label=_required("--label", label, "the column that holds what was true"),
            groups=named or [name for name in policy.attributes if name in there],
            features=_names("--features", features),
            output=output,
        )
        return audit_rows(url, chunks, policy, threshold)


def _of_slot(
    slot: str,
    log: Path | None,
    since: str | None,
    until: str | None,
    groups: str | None,
    policy_file: Path | None,
    data: Path | None,
    workspace: Workspace,
) -> FairnessEvidence:
    from streamrec.command_line.event_options import time_range
    from streamrec.command_line.training_data import imported_folder
    from streamrec.contracts.specification.fairness_policy import FairnessPolicy
    from streamrec.events.reader import FileEventReader
    from streamrec.gates.fairness.item_groups import read_item_groups
    from streamrec.gates.fairness.served_answers import collect_served, read_segments, served_answers

    window = time_range(since, until)
    root = workspace.events if log is None else log
    if not root.is_dir():
        raise InvalidInputError("--log", f"{root} is no folder of an event log")
    folder = imported_folder(workspace) if data is None else data
    segments = read_segments(folder)
    named = _names("--groups", groups)
    if policy_file is None and not named:
        policy = FairnessPolicy(attributes=(*segments, "creator_language"))
    elif policy_file is None:
        policy = FairnessPolicy(attributes=tuple(named))
    else:
        policy = _policy(policy_file, named)
    answers = served_answers(FileEventReader(root), slot, window, segments)
    items = read_item_groups(folder, policy, of_units=segments)
    return collect_served(slot, answers, policy, item_groups=items)


def _show(result: Result) -> None:
    from streamrec.command_line.tables import figure_text, stdout_console, table

    rows = [
        (
            f"{found['metric']}: {found['groups'][0]} against {found['groups'][1]}",
            figure_text(found["value"]),
            "-" if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}",
            f"{found['tolerance']:g}",
            found["verdict"],
            "-" if found["samples_needed"] is None else f"{found['samples_needed']:,}",
        )
        for found in result.content["differences"]
    ]
    columns = ("difference", "value", "interval", "tolerance", "verdict", "rows needed")
    stdout_console().print(table(f"Fairness of {result.content['subject']}", columns, rows))
