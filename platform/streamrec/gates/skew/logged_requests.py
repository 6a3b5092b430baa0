"""What a slot was asked and what became of it, out of the event log: requests with their features as served.

Features are logged of a sample of the requests (`ModelAnswer.features`), one column for each of their names,
so that a predictor can be asked again. An outcome is known where a label names the request, or where somebody
took up an item of its slate.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import POSITIVE_INTERACTIONS
from streamrec.events.event_log import EventReader
from streamrec.events.records import RecordKind
from streamrec.events.time_range import TimeRange

MAXIMUM_LOGGED: Final = 20_000
"""Requests that are compared, the newest ones."""

REQUEST_ID: Final = "request_id"
_ANSWERS: Final = (RecordKind.PREDICTION, RecordKind.IMPRESSION)
_SCHEMA_FIELD: Final = "schema"
"""Of a features document: names its form and is no feature."""


@dataclass(frozen=True)
class LoggedRequests:
    """Requests of one slot.

    Attributes:
        count: All of them in the range, with features or without.
        requests: Those whose features were logged, oldest first: request_id, unit and at (UTC).
        features: Same rows: one column for each feature.
        labels: Truth by request id, where a label says it.
        taken: Items that somebody took up, by request id.
    """

    count: int
    requests: pd.DataFrame
    features: pd.DataFrame
    labels: dict[str, float]
    taken: dict[str, tuple[str, ...]]


def read_logged_requests(
    reader: EventReader, slot: str, window: TimeRange, *, limit: int = MAXIMUM_LOGGED
) -> LoggedRequests:
    """Read what the event log holds of a slot.

    Args:
        reader: Of the log.
        slot: Also one that only took part in an answer, such as the retrieval of a slate.
        window: By the platform's clock.
        limit: Most requests with features.

    Raises:
        InvalidInputError: Labels of several names are about the requests: nobody says which is the truth.
        DependencyError, ArtifactError: The log cannot be read.
    """
    count, rows = 0, []
    for kind in _ANSWERS:
        found, kept = _answers(reader, kind, slot, window)
        count += found
        rows += kept
    rows = _once(rows)[-limit:]
    table = pd.DataFrame(
        {
            REQUEST_ID: [row[REQUEST_ID] for row in rows],
            "unit": [row["unit"] for row in rows],
            "at": pd.to_datetime([row["predicted_at"] for row in rows], utc=True).as_unit("us"),
        }
    )
    # Of objects: a column of whole numbers that some rows lack must not become one of fractions.
    features = pd.DataFrame([row["features"] for row in rows], index=table.index, dtype=object)
    chosen = frozenset(table[REQUEST_ID])
    return LoggedRequests(
        count=count,
        requests=table,
        features=features.where(features.notna(), None),
        labels=_labels(reader, chosen, window) if chosen else {},
        taken=_taken(reader, chosen, window) if chosen else {},
    )


def _answers(
    reader: EventReader, kind: RecordKind, slot: str, window: TimeRange
) -> tuple[int, list[dict[str, Any]]]:
    """How many answers of the slot there are, and those whose features are there, with these."""
    columns = [REQUEST_ID, "unit", "slot", "predicted_at", "features"]
    if kind is RecordKind.IMPRESSION:
        columns.append("versions")
    table = reader.table(kind, columns, window)
    ours = pc.equal(table.column("slot"), slot)
    if kind is RecordKind.IMPRESSION:
        took_part = [slot in dict(versions) for versions in table.column("versions").to_pylist()]
        ours = pc.or_(ours, pa.array(took_part, pa.bool_()))
    table = table.filter(ours)
    kept = table.filter(pc.is_valid(table.column("features")))
    rows = kept.select([REQUEST_ID, "unit", "predicted_at", "features"]).to_pylist()
    return table.num_rows, [{**row, "features": _document(row)} for row in rows]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    document = json.loads(row["features"])
    return {str(name): value for name, value in document.items() if name != _SCHEMA_FIELD}


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By time, each request once: several slots may answer one."""
    by_time = sorted(rows, key=lambda row: (row["predicted_at"], row[REQUEST_ID]))
    return list({row[REQUEST_ID]: row for row in by_time}.values())


def _labels(reader: EventReader, chosen: frozenset[str], window: TimeRange) -> dict[str, float]:
    table = reader.table(
        RecordKind.LABEL, ["subject", "name", "value", "received_at"], TimeRange(window.start)
    )
    table = table.filter(pc.is_in(table.column("subject"), pa.array(sorted(chosen))))
    names = sorted(set(table.column("name").to_pylist()))
    if len(names) > 1:
        raise InvalidInputError(
            "labels", f"several are about the requests ({', '.join(names)}): nobody says which is the truth"
        )
    rows = sorted(table.to_pylist(), key=lambda row: row["received_at"])  # the later one corrects
    values = {row["subject"]: json.loads(row["value"]) for row in rows}
    return {
        subject: float(value)
        for subject, value in values.items()
        if isinstance(value, (bool, int, float)) and np.isfinite(value)
    }


def _taken(reader: EventReader, chosen: frozenset[str], window: TimeRange) -> dict[str, tuple[str, ...]]:
    table = reader.table(RecordKind.OUTCOME, [REQUEST_ID, "item_id", "kind"], TimeRange(window.start))
    known = pc.is_in(table.column(REQUEST_ID), pa.array(sorted(chosen)))
    wanted = pc.is_in(table.column("kind"), pa.array(sorted(POSITIVE_INTERACTIONS)))
    items: dict[str, dict[str, None]] = defaultdict(dict)
    for row in table.filter(pc.and_(known, wanted)).to_pylist():
        if row["item_id"] is not None:
            items[row[REQUEST_ID]][row["item_id"]] = None
    return {request_id: tuple(sorted(found)) for request_id, found in items.items()}
