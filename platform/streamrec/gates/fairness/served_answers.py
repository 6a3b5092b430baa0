"""Auditing what was served: all models of a slate together, by impressions and what users did with them.

*selection_rate* of a group of users: the share of their answers of which something was taken up. *ndcg*: how
high up that stood. *exposure* of a group of items: the attention that it got for what of it was taken up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import POSITIVE_INTERACTIONS, Impression
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.contracts.specification.quality_policy import Task
from streamrec.events.event_log import EventReader
from streamrec.events.joining import join_outcomes
from streamrec.events.records import RecordKind
from streamrec.events.time_range import TimeRange
from streamrec.gates.fairness.counted import counted_comparisons, group_figures
from streamrec.gates.fairness.design_effects import DesignEffects
from streamrec.gates.fairness.evidence import FairnessEvidence, collect_fairness, counts_of
from streamrec.gates.fairness.groups import partitions
from streamrec.gates.predictions import Lists, Predictions

SERVED_METRICS: Final[Mapping[FairnessMetric, float]] = MappingProxyType(
    {FairnessMetric.SELECTION_RATE: 0.1, FairnessMetric.NDCG: 0.1, FairnessMetric.EXPOSURE: 0.2}
)
"""Tolerances of an audit without a policy."""

OUTCOME_WINDOW: Final = timedelta(days=1)
"""What comes later is not an answer to a slate any more."""

SEGMENTS: Final = ("age_band", "country", "language", "signup_channel")
"""Attributes that a data folder may say of users."""


def read_segments(data: Path) -> dict[str, dict[str, str]]:
    """What a data folder says of its users, by attribute and user; not what tells nobody apart.

    Raises:
        InvalidInputError: The users cannot be read.
    """
    path = data / "users.parquet"
    if not path.is_file():
        return {}
    try:
        names = pq.read_schema(path).names
        table = pq.read_table(path, columns=["user_id", *(name for name in SEGMENTS if name in names)])
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError("--data", f"{path} cannot be read: {error}") from error
    users = [str(user) for user in table["user_id"].to_pylist()]
    found = {}
    for name in table.column_names[1:]:
        known = {
            user: str(value)
            for user, value in zip(users, table[name].to_pylist(), strict=True)
            if value not in (None, "", UNKNOWN)
        }
        if len(set(known.values())) > 1:
            found[name] = known
    return found


def served_answers(
    reader: EventReader,
    slot: str,
    window: TimeRange,
    segments: Mapping[str, Mapping[str, str]],
    *,
    outcome_window: timedelta = OUTCOME_WINDOW,
) -> Predictions:
    """What was shown, and what of it was taken up.

    Args:
        reader: Of the event log.
        slot: An answer counts if a version of this slot had a part in it.
        window: Of the answers.
        segments: Of users, by attribute and user.
        outcome_window: How long after an answer an outcome still belongs to it.

    Raises:
        InvalidInputError: Nothing of the slot was shown; says of which slots something was.
        DependencyError, ArtifactError: As of `EventReader.snapshot`.
    """
    later = None if window.end is None else window.end + outcome_window
    shown = reader.snapshot(window, (RecordKind.IMPRESSION,)).impressions
    taken = reader.snapshot(TimeRange(window.start, later), (RecordKind.OUTCOME,)).outcomes
    answers = [
        answer for answer in shown if answer.item_ids and (answer.slot == slot or slot in answer.versions)
    ]
    if not answers:
        seen = sorted({name for answer in shown for name in (answer.slot, *answer.versions)})
        there = f"; there are answers of {', '.join(seen)}" if seen else ""
        raise InvalidInputError("--slot", f"the log holds no answer of {slot!r} in this time{there}")
    positive = [
        outcome for outcome in taken if outcome.kind in POSITIVE_INTERACTIONS and outcome.item_id is not None
    ]
    relevant: dict[int, list[str]] = {}
    for joined in join_outcomes(answers, positive, window=outcome_window).joined:
        items = relevant.setdefault(id(joined.impression), [])
        if joined.outcome.item_id is not None and joined.outcome.item_id not in items:
            items.append(joined.outcome.item_id)
    return _as_predictions(answers, [relevant.get(id(answer), []) for answer in answers], segments)


def _as_predictions(
    answers: Sequence[Impression],
    relevant: Sequence[Sequence[str]],
    segments: Mapping[str, Mapping[str, str]],
) -> Predictions:
    items = [answer.item_ids for answer in answers]
    repeated = Counter(answer.request_id for answer in answers)
    return Predictions(
        task=Task.RANKING,
        request_ids=_texts(
            [
                answer.request_id if repeated[answer.request_id] == 1 else f"{answer.request_id}#{row}"
                for row, answer in enumerate(answers)
            ]
        ),
        units=_texts([answer.unit for answer in answers]),
        at=np.array([answer.predicted_at.replace(tzinfo=None) for answer in answers], dtype="datetime64[us]"),
        labels=None,
        scores=None,
        item_ids=_lists(items),
        item_scores=_lists([[float(-place) for place in range(len(row))] for row in items]),
        relevant=_lists(relevant),
        groups={
            name: _texts([known.get(answer.unit) for answer in answers]) for name, known in segments.items()
        },
    )


def collect_served(
    subject: str,
    answers: Predictions,
    policy: FairnessPolicy,
    *,
    item_groups: Mapping[str, Mapping[str, str]],
    at: int = 10,
) -> FairnessEvidence:
    """Measure what groups of users took up, and which groups of items were shown.

    Args:
        subject: What is audited.
        answers: From `served_answers`.
        policy: Attributes and tolerances; `SERVED_METRICS` where it names none.
        item_groups: Groups of items by attribute, then by item.
        at: Positions that count.
    """
    metrics = dict(policy.metrics or SERVED_METRICS)
    rate = metrics.get(FairnessMetric.SELECTION_RATE)
    listed = dict(metrics)
    listed.pop(FairnessMetric.SELECTION_RATE, None)
    users = [name for name in policy.attributes if name in answers.groups]
    if not users and not policy.metrics:
        listed.pop(FairnessMetric.NDCG, None)
    if not any(name in item_groups for name in policy.attributes) and not policy.metrics:
        listed.pop(FairnessMetric.EXPOSURE, None)
    evidence = collect_fairness(subject, answers, policy, metrics=listed, item_groups=item_groups, at=at)
    relevant = answers.relevant
    assert relevant is not None  # noqa: S101 - made by `served_answers`
    taken = (relevant.lengths > 0).astype(np.float64)
    parts = list(partitions(answers.groups, policy))
    tables = {part.title: counts_of(part, taken, taken, 0.5) for part in parts}
    effects = DesignEffects(parts, taken, taken, 0.5, answers.units)
    groups = {name: dict(figures) for name, figures in evidence.groups.items()}
    for counted in tables.values():
        for name, counts in counted.items():
            figures = group_figures(name, counts, policy.confidence, effects)
            rated = {"count": counts.rows, "selection_rate": figures["selection_rate"]}
            groups[name] = {**groups.get(name, {}), **rated}
    compared = (
        ()
        if rate is None
        else counted_comparisons(tables, policy, {FairnessMetric.SELECTION_RATE: rate}, effects)
    )
    return replace(
        evidence,
        metrics=metrics,
        groups=groups,
        comparisons=(*compared, *evidence.comparisons),
    )


def _texts(values: Sequence[str | None]) -> NDArray[np.object_]:
    texts: NDArray[np.object_] = np.empty(len(values), dtype=object)
    texts[:] = list(values)
    return texts


def _lists(rows: Sequence[Sequence[str]] | Sequence[Sequence[float]]) -> Lists:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    entries = np.empty(int(offsets[-1]), dtype=object)
    entries[:] = [entry for row in rows for entry in row]
    return Lists(entries, offsets)
