"""Figures that other commands measured, put beside those of the evaluation: the closed loop, the index sweep.

`streamrec recommendations world closed-loop` needs a simulated world, and `streamrec recommendations index
tune` a catalogue of the size that the bar is for; what they wrote is read here and not measured again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.recommendations.evaluation.acceptance import (
    INDEX_ITEMS,
    INDEX_RECALL,
    INDEX_TIME_SHARE,
    Bar,
)
from streamrec.contracts.canonical_json import parse_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval
from streamrec.contracts.results import Result

OLD_POLICY: Final = "old policy"
SERVED_POLICY: Final = "pipeline as served"
"""Names of the two arms that the bar is about, as the closed loop reports them."""

CHURN: Final = 0.35
_MAXIMUM_BYTES: Final = 16 * 1024 * 1024


def read_figures(path: Path, schema: str) -> dict[str, Any]:
    """Read the figures that another command wrote with ``--json``, whatever its verdict was.

    Args:
        path: The file.
        schema: The format that the command writes.

    Raises:
        InvalidInputError: The file is missing, too long, not JSON, or not of that format.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be read ({error.strerror})") from error
    try:
        document = parse_json(content, maximum_bytes=_MAXIMUM_BYTES)
        return dict(Result.from_json(document, schema=schema).content)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}, {error.field}", error.problem) from error


def with_other_commands(
    report: Mapping[str, Any],
    *,
    closed_loop: Mapping[str, Any] | None = None,
    index_tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Add the figures, and their bars, to the evaluation's JSON, in place of the bars not measured there.

    Args:
        report: What `EvaluationReport.to_json` returned.
        closed_loop: What ``streamrec recommendations world closed-loop --json`` wrote.
        index_tuning: What ``streamrec recommendations index tune --json`` wrote.

    Raises:
        InvalidInputError: One of them does not hold the figures that it should.
    """
    added: list[Bar] = []
    try:
        if closed_loop is not None:
            added += _churn_bars(closed_loop)
        if index_tuning is not None:
            added += _index_bars(index_tuning)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            "figures", f"not those of the command that should have written them ({error!r})"
        ) from error
    names = {bar.name for bar in added}
    kept = [bar for bar in report["bars"] if bar["met"] is not None or bar["name"] not in names]
    return {
        **report,
        "closed_loop": None if closed_loop is None else dict(closed_loop),
        "index_tuning": None if index_tuning is None else dict(index_tuning),
        "bars": [*kept, *(bar.to_json() for bar in added)],
    }


def _churn_bars(closed_loop: Mapping[str, Any]) -> list[Bar]:
    path = f"{SERVED_POLICY}.summary.seven_day_churn"
    churn = Interval.from_json(closed_loop[SERVED_POLICY]["summary"]["seven_day_churn"], path=path)
    return [
        Bar(
            "seven-day churn of new users",
            "closed loop",
            f"at most {CHURN:.2f}",
            churn.value,
            churn,
            churn.value <= CHURN,
        )
    ]


def _index_bars(tuning: Mapping[str, Any]) -> list[Bar]:
    items = int(tuning["item_count"])
    recall = Interval.from_json(tuning["chosen"]["recall"], path="chosen.recall")
    share = float(tuning["time_share_of_exact"])
    if items < INDEX_ITEMS:
        return []
    note = f"{tuning['chosen']['kind']}, {items:,} items"
    return [
        Bar(
            "recall@500 against exact search",
            "index",
            f"at least {INDEX_RECALL:.2f}",
            recall.value,
            recall,
            recall.value >= INDEX_RECALL,
            note,
        ),
        Bar(
            "share of exact search's median time",
            "index",
            "at most 1/3",
            share,
            None,
            share <= INDEX_TIME_SHARE,
            note,
        ),
    ]
