"""Figures that other commands measured, put beside those of the evaluation: the closed loop, the index sweep.

`streamrec world closed-loop` needs a simulated world and `streamrec index tune` a catalogue of the size that
the bar is for; what they wrote is read here and not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.recommendations.evaluation.acceptance import (
    INDEX_ITEMS,
    INDEX_RECALL,
    INDEX_TIME_SHARE,
    Bar,
)
from streamrec.contracts.errors import InvalidInputError

OLD_POLICY: Final = "old policy"
SERVED_POLICY: Final = "pipeline as served"
"""Names of the two arms that the bar is about, as the closed loop reports them."""

CHURN: Final = 0.35
_MAXIMUM_BYTES: Final = 16 * 1024 * 1024


def read_figures(path: Path) -> dict[str, Any]:
    """Read what another command wrote with ``--json``.

    Raises:
        InvalidInputError: The file is missing, too long, or not a JSON object.
    """
    try:
        if path.stat().st_size > _MAXIMUM_BYTES:
            raise InvalidInputError(str(path), f"larger than {_MAXIMUM_BYTES} bytes")
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(str(path), f"not a readable JSON file ({error})") from error
    if not isinstance(figures, dict):
        raise InvalidInputError(str(path), "not a JSON object")
    return figures


def with_other_commands(
    report: Mapping[str, Any],
    *,
    closed_loop: Mapping[str, Any] | None = None,
    index_tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Add the figures, and their bars, to the evaluation's JSON, in place of the bars not measured there.

    Args:
        report: What `EvaluationReport.to_json` returned.
        closed_loop: What ``streamrec world closed-loop --json`` wrote.
        index_tuning: What ``streamrec index tune --json`` wrote.

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
    churn = closed_loop[SERVED_POLICY]["summary"]["seven_day_churn"]
    value, low, high = (float(churn[name]) for name in ("value", "low", "high"))
    return [
        Bar(
            "seven-day churn of new users",
            "closed loop",
            f"at most {CHURN:.2f}",
            value,
            low,
            high,
            value <= CHURN,
        )
    ]


def _index_bars(tuning: Mapping[str, Any]) -> list[Bar]:
    items, recall = int(tuning["item_count"]), tuning["chosen"]["recall"]
    value, low, high = (float(recall[name]) for name in ("value", "low", "high"))
    share = float(tuning["time_share_of_exact"])
    if items < INDEX_ITEMS:
        return []
    note = f"{tuning['chosen']['kind']}, {items:,} items"
    return [
        Bar(
            "recall@500 against exact search",
            "index",
            f"at least {INDEX_RECALL:.2f}",
            value,
            low,
            high,
            value >= INDEX_RECALL,
            note,
        ),
        Bar(
            "share of exact search's median time",
            "index",
            "at most 1/3",
            share,
            None,
            None,
            share <= INDEX_TIME_SHARE,
            note,
        ),
    ]
