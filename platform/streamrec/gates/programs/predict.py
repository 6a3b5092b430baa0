"""Lets a version answer requests, and writes its answers as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.gates.predictor import ITEM_IDS_COLUMN, SCORE_COLUMN, SCORES_COLUMN
from streamrec.gates.programs.loading import REQUESTS, load_predictor

ANSWERS_FILE: Final = "answers.parquet"
NUMBER_SCHEMA: Final = pa.schema([(SCORE_COLUMN, pa.float64())])
LIST_SCHEMA: Final = pa.schema(
    [(ITEM_IDS_COLUMN, pa.list_(pa.string())), (SCORES_COLUMN, pa.list_(pa.float64()))]
)


def predict(arguments: Mapping[str, Any], inputs: Mapping[str, Path], output: Path) -> dict[str, Any]:
    """Answer every request.

    Args:
        arguments: ``predictor``, ``answers_items``, and ``batch_rows``: so many requests are asked at once.
        inputs: ``requests``, ``artifact``, ``needed.ROLE``, ``data``.
        output: Gets `ANSWERS_FILE`.

    Raises:
        ValueError: An answer has another number of rows than the question, or not the right columns.
    """
    requests = pd.read_parquet(inputs[REQUESTS])
    predictor = load_predictor(arguments["predictor"], inputs)
    schema = LIST_SCHEMA if arguments["answers_items"] else NUMBER_SCHEMA
    with pq.ParquetWriter(output / ANSWERS_FILE, schema, compression="zstd") as writer:
        for first in range(0, len(requests), arguments["batch_rows"]):
            batch = requests.iloc[first : first + arguments["batch_rows"]].reset_index(drop=True)
            answers = predictor.predict(batch)
            writer.write_table(_table(answers, len(batch), schema))
    return {"rows": len(requests)}


def _table(answers: pd.DataFrame, rows: int, schema: pa.Schema) -> pa.Table:
    if len(answers) != rows:
        raise ValueError(f"the predictor answered {len(answers)} rows to {rows} requests; one answer each")
    missing = [name for name in schema.names if name not in answers.columns]
    if missing:
        raise ValueError(f"the predictor's answer has no column {missing[0]!r}")
    # Not the default of pandas, by which NaN and None become the same empty value.
    columns = [pa.array(answers[field.name].tolist(), field.type, from_pandas=False) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
