"""A version that is judged, or compared with, and how it is let to answer in isolation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.parquet_files import read_bounded
from streamrec.gates.predictions import Lists, Predictions, checked
from streamrec.gates.predictor import GROUP_PREFIX, ITEM_IDS_COLUMN, SCORE_COLUMN, SCORES_COLUMN
from streamrec.gates.programs.loading import ARTIFACT, DATA, NEEDED, REQUESTS
from streamrec.gates.programs.predict import ANSWERS_FILE, LIST_SCHEMA, NUMBER_SCHEMA
from streamrec.gates.request_table import shown_to_predictor
from streamrec.gates.runner import GateRunner, GateTask, GateTaskResult, SandboxLimits

PREDICT: Final = "streamrec.gates.programs.predict:predict"
BATCH_ROWS: Final = 512
LEAST_ROWS: Final = 300
"""With fewer requests another process takes longer to start than it saves."""

SCORING_LIMITS: Final = SandboxLimits()


@dataclass(frozen=True, slots=True)
class Contender:
    """A version with everything that it takes to let it answer.

    Attributes:
        subject: ``NAME@VERSION``, or the folder of a version that is not registered.
        specification: Its own.
        artifact: Folder of its files.
        artifact_digest: SHA-256 of its manifest, where it is registered: the files must be exactly those.
        needs: Artifacts of the versions that it answers with, by role.
        data: The data folder; None where there is none.
        import_paths: Further folders in which its predictor may lie.
        problem: Why its files cannot be had, such as a byte that is not the registered one; empty where they
            can.
    """

    subject: str
    specification: ModelSpecification
    artifact: Path
    artifact_digest: str | None = None
    needs: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    data: Path | None = None
    import_paths: tuple[Path, ...] = ()
    problem: str = ""

    @property
    def ref(self) -> ModelRef | None:
        """Name and version, where it is registered."""
        return None if self.artifact_digest is None else ModelRef.parse(self.subject)

    def inputs(self, requests: Path) -> dict[str, Path]:
        """What its predictor may read."""
        inputs = {ARTIFACT: self.artifact, REQUESTS: requests}
        inputs |= {f"{NEEDED}{role}": path for role, path in self.needs.items()}
        return inputs if self.data is None else {**inputs, DATA: self.data}


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What a version answered.

    Attributes:
        run: What became of the process.
        table: The answers as they were written; None where there are none that can be read.
        problem: Why there are none; empty where there are.
    """

    run: GateTaskResult
    table: pa.Table | None
    problem: str = ""


def ask(
    contender: Contender,
    requests: pd.DataFrame,
    runner: GateRunner,
    limits: SandboxLimits = SCORING_LIMITS,
) -> Answers:
    """Let a version answer requests in isolation.

    Args:
        contender: Which version.
        requests: Rows of a `RequestTable`; what a predictor must not see is taken out here.
        runner: Where it runs.
        limits: What it may use.

    Raises:
        ArtifactError: Its files cannot be had.
    """
    specification = contender.specification
    if contender.problem:
        raise ArtifactError(contender.problem)
    with tempfile.TemporaryDirectory(prefix="streamrec-answers-") as temporary:
        folder = Path(temporary)
        written, output = folder / "requests.parquet", folder / "output"
        shown_to_predictor(requests).to_parquet(written, index=False)
        output.mkdir()
        run = runner.run(
            GateTask(
                PREDICT,
                {
                    "predictor": specification.predictor,
                    "answers_items": specification.task.answers_items,
                    "batch_rows": BATCH_ROWS,
                },
                contender.inputs(written),
                output,
                limits,
                contender.import_paths,
            )
        )
        if not run.completed:
            return Answers(run, None, run.problem)
        schema = LIST_SCHEMA if specification.task.answers_items else NUMBER_SCHEMA
        return _read_answers(run, output / ANSWERS_FILE, schema, len(requests))


def ask_beside(
    contender: Contender,
    requests: pd.DataFrame,
    runner: GateRunner,
    processes: int,
    limits: SandboxLimits = SCORING_LIMITS,
) -> Answers:
    """`ask`, by several processes that answer a part each. An answer is to its request alone.

    Args:
        contender, requests, runner, limits: As in `ask`.
        processes: At most so many; each has `LEAST_ROWS` to answer at least.

    Raises:
        ArtifactError: As in `ask`.
    """
    count = max(1, min(processes, len(requests) // LEAST_ROWS))
    if count == 1:
        return ask(contender, requests, runner, limits)
    bounds = np.linspace(0, len(requests), count + 1).astype(int)
    parts = [requests.iloc[start:end] for start, end in pairwise(bounds)]
    with ThreadPoolExecutor(max_workers=count) as pool:
        answers = list(pool.map(lambda part: ask(contender, part, runner, limits), parts))
    bad = next((one for one in answers if one.table is None), None)
    if bad is not None:
        return bad
    return replace(answers[0], table=pa.concat_tables([one.table for one in answers]))


def joined(answers: Answers, requests: pd.DataFrame, specification: ModelSpecification) -> Predictions:
    """Put what a version answered beside what was true.

    Args:
        answers: To these requests.
        requests: Rows of a `RequestTable`.
        specification: Says what the answers are.

    Raises:
        InvalidInputError: There are no answers, or they are not what `read_predictions` accepts: not finite,
            not sorted, an item twice.
    """
    if answers.table is None:
        raise InvalidInputError("predictions", answers.problem)
    listed = specification.task.answers_items
    items = _lists(answers.table, ITEM_IDS_COLUMN) if listed else None
    return checked(
        Predictions(
            task=specification.task,
            request_ids=requests["request_id"].to_numpy(dtype=object),
            units=requests["unit"].to_numpy(dtype=object),
            at=requests["at"].dt.tz_localize(None).to_numpy(dtype="datetime64[us]"),
            labels=None if listed else requests["label"].to_numpy(dtype=np.float64),
            scores=None if listed else answers.table.column(SCORE_COLUMN).to_numpy(),
            item_ids=items,
            item_scores=_lists(answers.table, SCORES_COLUMN) if listed else None,
            relevant=_ragged(requests["relevant"]) if listed else None,
            groups={
                name.removeprefix(GROUP_PREFIX): requests[name].to_numpy(dtype=object)
                for name in requests.columns
                if name.startswith(GROUP_PREFIX)
            },
        )
    )


def _read_answers(run: GateTaskResult, path: Path, schema: pa.Schema, rows: int) -> Answers:
    """Read what an untrusted process wrote: only what was asked for, and no more than was asked for."""
    try:
        table = read_bounded(path, maximum_rows=rows)
    except (OSError, ValueError, pa.ArrowException) as error:
        return Answers(run, None, f"its answers cannot be read: {' '.join(str(error).split())[:300]}")
    if table.num_rows != rows:
        return Answers(run, None, f"it answered {table.num_rows} rows to {rows} requests")
    if not table.schema.equals(schema):
        return Answers(run, None, "its answers are not in the columns that were asked for")
    for name in table.column_names:
        column = table.column(name)
        empty = column.null_count
        if pa.types.is_list(column.type):
            empty += sum(chunk.flatten().null_count for chunk in column.chunks)
        if empty:
            return Answers(run, None, f"{empty} of its answers are empty in {name}")
    return Answers(run, table)


def _lists(table: pa.Table, name: str) -> Lists:
    column = table.column(name).combine_chunks()
    offsets = column.offsets.to_numpy().astype(np.int64)
    return Lists(column.flatten().to_numpy(zero_copy_only=False), offsets - offsets[0])


def _ragged(lists: Iterable[list[Any]]) -> Lists:
    lengths = [0, *(len(entries) for entries in lists)]
    values = [entry for entries in lists for entry in entries]
    return Lists(np.array(values, dtype=object), np.cumsum(lengths, dtype=np.int64))
