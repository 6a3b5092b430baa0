"""`streamrec models train`, `check` and `register`: from a model's folder to a registered version."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace, WorkspaceOption

if TYPE_CHECKING:
    from streamrec.contracts.results import Result
    from streamrec.gates.evaluation_data import EvaluationData
    from streamrec.gates.model_folders import ModelFolder
    from streamrec.registry.model_registry import ModelVersion

FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        file_okay=False,
        help="Holds model.yaml, the folder 'artifact', and the evaluation files that model.yaml names.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        file_okay=False,
        help="Data folder, where model.yaml names a function that makes requests of one.",
    ),
]
DataSetOption = Annotated[
    str | None, typer.Option("--data-set", help="Its name, where model.yaml has rules for it.")
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="Write the whole result to this file.")
]


def train(
    folder: FolderArgument,
    data: Annotated[Path, typer.Option("--data", exists=True, file_okay=False, help="Data to train on.")],
    until: Annotated[
        datetime | None,
        typer.Option("--until", help="Later data does not count (UTC). Where none is named: now."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Train a version as model.yaml says, in isolation, into the folder 'artifact'."""
    from streamrec.command_line.judging import open_gate_runner
    from streamrec.gates.model_folders import ModelFolder
    from streamrec.gates.model_training import train_version

    del workspace  # of the command's libraries alone
    read = ModelFolder.read(folder)
    end = datetime.now(UTC) if until is None else until.replace(tzinfo=until.tzinfo or UTC)
    ended = train_version(read.specification, data, end, read.artifact, open_gate_runner())
    typer.echo(f"{read.artifact}: {ended.answer['files']} files, trained in {ended.wall_s:.1f} s")
    typer.echo(f"next: streamrec models register {folder}")


def check(
    folder: FolderArgument,
    data: DataOption = None,
    data_set: DataSetOption = None,
    json_file: JsonOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Judge a model's folder: model.yaml, the files, and that it was not trained on what it is judged on.

    Ten lines of model.yaml are enough: name, owner, slot, task, predictor, evaluation, quality, fairness.
    """
    from streamrec.command_line.results import finish

    result, *_ = _checked(folder, data, data_set, Workspace(workspace))
    finish(result, json_file)


def register(
    folder: FolderArgument,
    data: DataOption = None,
    data_set: DataSetOption = None,
    json_file: JsonOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Check a model's folder and register it as the next version; nothing is registered unless it passes."""
    from streamrec.command_line.composition import open_ledger, open_registry
    from streamrec.command_line.decisions.desk import actor_for
    from streamrec.command_line.results import finish
    from streamrec.contracts.ledger_entry import EntryKind
    from streamrec.contracts.results import Verdict
    from streamrec.gates.model_folders import ModelFolder, model_spec

    place = Workspace(workspace)
    by = actor_for(place, "models register", "", ModelFolder.read(folder).specification.slot)
    result, read, evaluation, needed = _checked(folder, data, data_set, place)
    if result.verdict is not Verdict.PASSED:
        typer.echo("nothing was registered")
        finish(result, json_file)
    registry = open_registry(place)
    files = read.evaluation_files()
    spec = model_spec(read, evaluation, {role: one.ref for role, one in needed.items()})
    version = registry.register(spec, read.artifact)
    for name, content in files.items():
        registry.attach(version.ref, name, content)
    registered = {
        "artifact_digest": version.artifact_digest,
        "specification_digest": read.specification.digest,
    }
    open_ledger(place).append(by.decides(EntryKind.MODEL_REGISTERED, version.ref, registered))
    typer.echo(f"registered {version.ref} for the slot {version.slot}")
    typer.echo(f"next: streamrec models deploy {version.ref} --reason ...")
    finish(result, json_file)


def _checked(
    folder: Path, data: Path | None, data_set: str | None, place: Workspace
) -> tuple[Result, ModelFolder, EvaluationData, dict[str, ModelVersion]]:
    from streamrec.command_line.composition import open_registry
    from streamrec.command_line.judging import isolation_waived, needed_now, open_gate_runner
    from streamrec.command_line.metric_parts import check_metric_name
    from streamrec.gates.evaluation_data import load_evaluation_data
    from streamrec.gates.known_attributes import check_attributes
    from streamrec.gates.model_folders import ModelFolder, check_folder

    read = ModelFolder.read(folder)
    check_metric_name(place, read.specification.outcome_metric, path="outcome_metric")
    needed, artifacts = {}, {}
    if read.specification.needs:
        registry = open_registry(place)
        needed = needed_now(registry, read.specification.needs)
        artifacts = {role: registry.fetch(version) for role, version in needed.items()}
    runner = open_gate_runner()
    evaluation = load_evaluation_data(read.specification, runner, folder=folder, data=data, data_set=data_set)
    check_attributes(read.specification, evaluation)
    found = check_folder(read, evaluation, artifacts, runner, isolation_waived=isolation_waived())
    return found.to_result(read), read, evaluation, needed
