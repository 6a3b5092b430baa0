"""A model's folder before it is registered: `model.yaml`, the folder ``artifact``, the evaluation files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from streamrec.contracts.errors import ArtifactError, InvalidInputError, NotFoundError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.results import Result, Verdict, combined
from streamrec.contracts.specification.model_specification import SPECIFICATION_FILE, ModelSpecification
from streamrec.contracts.specification.safe_yaml import MAXIMUM_BYTES
from streamrec.gates.checks.artifact import collect_artifact, judge_artifact
from streamrec.gates.checks.row_overlap import event_rows
from streamrec.gates.checks.validation import collect_validation, judge_validation
from streamrec.gates.contenders import SCORING_LIMITS, Contender
from streamrec.gates.evaluation_data import EvaluationData
from streamrec.gates.gate_results import reason
from streamrec.gates.predictor import ITEM_IDS_COLUMN, SCORE_COLUMN, SCORES_COLUMN
from streamrec.gates.registered_versions import evaluation_files
from streamrec.gates.request_table import feature_columns
from streamrec.gates.runner import Enforcement, GateRunner, GateTask, GateTaskResult
from streamrec.training.training_rows import TrainingRows

CHECK_SCHEMA: Final = "streamrec.model_check.v1"
ARTIFACT_FOLDER: Final = "artifact"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What lies in a model's folder.

    Attributes:
        path: The folder.
        specification: Out of its `model.yaml`.
    """

    path: Path
    specification: ModelSpecification

    @property
    def artifact(self) -> Path:
        """The files that are registered."""
        return self.path / ARTIFACT_FOLDER

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """Read the specification.

        Raises:
            NotFoundError: There is no `model.yaml`.
            InvalidInputError: It is wrong; names the field, and says what to do.
        """
        file = path / SPECIFICATION_FILE
        try:
            with file.open("rb") as opened:
                content = opened.read(MAXIMUM_BYTES + 1)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"there is no {file}: say in it what the model is; 'streamrec models check --help' shows how"
            ) from error
        except OSError as error:
            raise InvalidInputError(str(file), f"cannot be read: {error.strerror}") from error
        return cls(path, ModelSpecification.from_yaml(content))

    def evaluation_files(self) -> dict[str, bytes]:
        """Content of the evaluation files, by the name that each is kept under with the version.

        Raises:
            InvalidInputError: One cannot be read.
        """
        read = {}
        for name, path in evaluation_files(self.specification).items():
            try:
                read[name] = (self.path / path).read_bytes()
            except OSError as error:
                raise InvalidInputError("evaluation", f"{path} cannot be read: {error.strerror}") from error
        return read


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """What was found in a folder.

    Attributes:
        results: Of the artifact and the validation gate.
        isolation: How its predictor was isolated while it answered.
        isolation_waived: The platform's setting allows that nothing isolates it.
    """

    results: tuple[Result, ...]
    isolation: Enforcement
    isolation_waived: bool

    def to_result(self, folder: ModelFolder) -> Result:
        """As one result, in the order of the gates."""
        reasons = [found for result in self.results for found in result.reasons]
        verdicts = [result.verdict for result in self.results]
        if not self.isolation.isolated and not self.isolation_waived:
            verdicts.append(Verdict.INCONCLUSIVE)
            reasons.append(
                reason("isolation_not_enforced", "isolation", "this machine does not isolate what gates run")
            )
        content: Mapping[str, Any] = {
            "model": folder.specification.name,
            "slot": folder.specification.slot,
            "specification_digest": folder.specification.digest,
            "isolation": self.isolation.to_json(),
            "gates": [result.to_json() for result in self.results],
        }
        return Result(CHECK_SCHEMA, combined(verdicts), tuple(reasons), content)


def check_folder(
    folder: ModelFolder,
    evaluation: EvaluationData,
    needs: Mapping[str, Path],
    runner: GateRunner,
    *,
    isolation_waived: bool = False,
    import_paths: tuple[Path, ...] = (),
) -> FolderCheck:
    """Judge the artifact and the evaluation data of a version that is not registered yet.

    Args:
        folder: The model's folder.
        evaluation: Its evaluation data.
        needs: Artifacts of the versions that it answers with, by role.
        runner: Where it runs.
        isolation_waived: The platform's setting allows that nothing isolates it.
        import_paths: Further folders in which its predictor may lie.

    Raises:
        ArtifactError: There is no folder ``artifact``.
    """
    if not folder.artifact.is_dir():
        raise ArtifactError(f"there is no folder {folder.artifact}: put the files that training wrote there")
    specification = folder.specification
    contender = Contender(
        str(specification.name),
        specification,
        folder.artifact,
        needs=needs,
        data=evaluation.data,
        import_paths=import_paths,
    )
    remembered = _Remembered(runner)
    rows = evaluation.judged(specification)
    results = []
    if len(rows):
        found = collect_artifact(contender, rows, remembered, SCORING_LIMITS)
        results.append(judge_artifact(found, specification.artifact))
    validation = collect_validation(contender, evaluation.table, evaluation.training)
    results.append(judge_validation(validation, specification.evaluation))
    return FolderCheck(tuple(results), Enforcement.weakest(*remembered.seen), isolation_waived)


def model_spec(
    folder: ModelFolder, evaluation: EvaluationData, depends_on: Mapping[str, ModelRef]
) -> ModelSpec:
    """What the registry is told of a version that comes from a folder.

    Args:
        folder: The model's folder.
        evaluation: Its evaluation data.
        depends_on: Versions that it answers with, by role.

    Raises:
        InvalidInputError: An evaluation file cannot be read.
        ArtifactError: The artifact's training rows are damaged.
    """
    specification = folder.specification
    files = folder.evaluation_files()
    return ModelSpec(
        name=specification.name,
        signature=_signature(evaluation.table.frame, answers_items=specification.task.answers_items),
        data_fingerprint=_data_fingerprint(folder, evaluation),
        settings_fingerprint=specification.digest,
        parameters={"owner": specification.owner, "task": specification.task.value},
        depends_on=depends_on,
        slot=specification.slot,
        specification=specification.to_json(),
        attachments={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )


class _Remembered:
    """Remembers how every run was isolated."""

    def __init__(self, runner: GateRunner) -> None:
        self._runner = runner
        self.seen: list[Enforcement] = []

    def run(self, task: GateTask) -> GateTaskResult:
        result = self._runner.run(task)
        self.seen.append(result.enforcement)
        return result


def _signature(frame: pd.DataFrame, *, answers_items: bool) -> ModelSignature:
    """What goes in: the columns that only the predictor knows; what comes out: by the task."""
    inputs = tuple(
        TensorSpec(
            name, frame[name].dtype.name if pd.api.types.is_numeric_dtype(frame[name]) else "str", (-1,)
        )
        for name in feature_columns(frame)
    )
    outputs = (
        (TensorSpec(ITEM_IDS_COLUMN, "str", (-1, -1)), TensorSpec(SCORES_COLUMN, "float64", (-1, -1)))
        if answers_items
        else (TensorSpec(SCORE_COLUMN, "float64", (-1,)),)
    )
    return ModelSignature(inputs or (TensorSpec("unit", "str", (-1,)),), outputs)


def _data_fingerprint(folder: ModelFolder, evaluation: EvaluationData) -> str:
    """SHA-256 of the fingerprints of what it was trained on, or else of what it is judged on."""
    carried = TrainingRows.read(folder.artifact)
    if carried is not None:
        return hashlib.sha256(carried.rows.tobytes()).hexdigest()
    known = evaluation.training if evaluation.training is not None else evaluation.table.training
    rows, _ = event_rows(
        known if len(known) else evaluation.table.validation, listed=evaluation.table.task.answers_items
    )
    rows.sort()
    return hashlib.sha256(rows.tobytes()).hexdigest()
