"""The data that a version is judged on, as its specification names it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.parquet_files import read_bounded
from streamrec.gates.predictions import MAXIMUM_ROWS
from streamrec.gates.programs.compute_features import FEATURES_FILE, WANTED
from streamrec.gates.programs.loading import DATA
from streamrec.gates.programs.make_requests import REQUESTS_FILE
from streamrec.gates.request_table import RequestTable, read_request_table
from streamrec.gates.runner import GateRunner, GateTask, SandboxLimits

MAKE_REQUESTS: Final = "streamrec.gates.programs.make_requests:make_requests"
COMPUTE_FEATURES: Final = "streamrec.gates.programs.compute_features:compute_features"
MAKING_LIMITS: Final = SandboxLimits(memory_bytes=8 * 1024**3)


@dataclass(frozen=True, eq=False, slots=True)
class EvaluationData:
    """What a version is judged on.

    Attributes:
        table: The requests.
        training: Rows that it was trained on, where the specification names a file of them.
        data: The data folder; None where there is none.
        data_set: Its name, by which the specification may have rules of its own; None where it has none.
    """

    table: RequestTable
    training: pd.DataFrame | None = None
    data: Path | None = None
    data_set: str | None = None

    def judged(self, specification: ModelSpecification) -> pd.DataFrame:
        """The validation rows that are asked: the newest, as many as the specification takes."""
        rows = self.table.validation
        return rows.tail(specification.evaluation.maximum_requests).reset_index(drop=True)


def load_evaluation_data(
    specification: ModelSpecification,
    runner: GateRunner,
    *,
    folder: Path | None,
    data: Path | None = None,
    data_set: str | None = None,
    import_paths: tuple[Path, ...] = (),
) -> EvaluationData:
    """Read the table, or let the spoke make it in isolation.

    Args:
        specification: Names it.
        runner: Where a function of the spoke runs.
        folder: The model's folder, in which files are looked for; None where there is none.
        data: The data folder; a function needs one.
        data_set: Its name.
        import_paths: Further folders in which the function may lie.

    Raises:
        InvalidInputError: There is no such file, no data folder, or the table is not one; says what to do.
    """
    rules, training = specification.evaluation, None
    if rules.training_rows is not None:
        path = _in(folder, rules.training_rows, "evaluation.training_rows")
        training = read_request_table(path, specification.task, place="evaluation.training_rows").frame
    if not rules.is_function:
        table = read_request_table(_in(folder, rules.requests, "evaluation.requests"), specification.task)
        return EvaluationData(table, training, data, data_set)
    if data is None:
        raise InvalidInputError(
            "evaluation.requests", f"{rules.requests} makes requests of a data folder: name one by --data"
        )
    with tempfile.TemporaryDirectory(prefix="streamrec-requests-") as temporary:
        output = Path(temporary)
        made = runner.run(
            GateTask(
                MAKE_REQUESTS, {"function": rules.requests}, {DATA: data}, output, MAKING_LIMITS, import_paths
            )
        )
        if not made.completed:
            raise InvalidInputError("evaluation.requests", f"{rules.requests} made no table: {made.problem}")
        table = read_request_table(output / REQUESTS_FILE, specification.task)
    return EvaluationData(table, training, data, data_set)


def features_as_trained(
    specification: ModelSpecification,
    runner: GateRunner,
    data: Path | None,
    import_paths: tuple[Path, ...] = (),
) -> Callable[[pd.DataFrame], pd.DataFrame] | None:
    """What computes features as training does, in isolation; None where requests bring all features."""
    function = specification.skew.features
    if function is None:
        return None

    def compute(wanted: pd.DataFrame) -> pd.DataFrame:
        if data is None:
            raise InvalidInputError("skew.features", f"{function} needs a data folder: name one by --data")
        with tempfile.TemporaryDirectory(prefix="streamrec-features-") as temporary:
            asked, output = Path(temporary) / "wanted.parquet", Path(temporary) / "output"
            wanted.to_parquet(asked, index=False)
            output.mkdir()
            inputs = {DATA: data, WANTED: asked}
            task = GateTask(
                COMPUTE_FEATURES, {"function": function}, inputs, output, MAKING_LIMITS, import_paths
            )
            ended = runner.run(task)
            if not ended.completed:
                raise InvalidInputError("skew.features", f"{function} computed nothing: {ended.problem}")
            return _read_features(output / FEATURES_FILE)

    return compute


def _read_features(path: Path) -> pd.DataFrame:
    try:
        features: pd.DataFrame = read_bounded(path, maximum_rows=MAXIMUM_ROWS).to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidInputError("skew.features", f"the computed features cannot be read: {error}") from error
    return features


def _in(folder: Path | None, name: str, place: str) -> Path:
    if folder is None:
        raise InvalidInputError(
            place, f"names the file {name}, and there is no folder of the model to find it in"
        )
    return folder / name
