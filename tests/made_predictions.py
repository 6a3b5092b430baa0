"""Predictions of made people, for tests of fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from streamrec.contracts.specification.quality_policy import Task
from streamrec.gates.predictions import Lists, Predictions


def texts(values) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = list(values)
    return column


def lists(rows: Sequence[Sequence]) -> Lists:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    entries = [entry for row in rows for entry in row]
    numbers = bool(entries) and isinstance(entries[0], float)
    return Lists(np.array(entries, dtype=float) if numbers else texts(entries), offsets)


def classified(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: Mapping[str, Sequence[str | None]],
    *,
    rows_per_unit: int = 1,
    task: Task = Task.CLASSIFICATION,
) -> Predictions:
    rows = len(labels)
    return Predictions(
        task=task,
        request_ids=texts([f"r{row}" for row in range(rows)]),
        units=texts([f"u{row // rows_per_unit}" for row in range(rows)]),
        at=np.full(rows, np.datetime64("2026-03-01", "us")),
        labels=np.asarray(labels, dtype=float),
        scores=np.asarray(scores, dtype=float),
        item_ids=None,
        item_scores=None,
        relevant=None,
        groups={name: texts(values) for name, values in groups.items()},
    )


def ranked(
    item_ids: Sequence[Sequence[str]],
    relevant: Sequence[Sequence[str]],
    groups: Mapping[str, Sequence[str | None]],
    *,
    rows_per_unit: int = 1,
) -> Predictions:
    rows = len(item_ids)
    return Predictions(
        task=Task.RANKING,
        request_ids=texts([f"r{row}" for row in range(rows)]),
        units=texts([f"u{row // rows_per_unit}" for row in range(rows)]),
        at=np.full(rows, np.datetime64("2026-03-01", "us")),
        labels=None,
        scores=None,
        item_ids=lists(item_ids),
        item_scores=lists([[float(-place) for place in range(len(row))] for row in item_ids]),
        relevant=lists(relevant),
        groups={name: texts(values) for name, values in groups.items()},
    )


def toxic_and_not(rows: int, tpr: Mapping[str, float], *, fpr: float = 0.1, seed: int = 1):
    """Labels, scores and languages of a filter that finds so many of what is toxic in each language."""
    rng = np.random.default_rng(seed)
    languages = rng.permutation(np.resize(sorted(tpr), rows))
    labels = rng.integers(0, 2, rows).astype(float)
    found = np.array([tpr[language] for language in languages])
    yes = rng.uniform(size=rows) < np.where(labels == 1.0, found, fpr)
    scores = np.where(yes, rng.uniform(0.5, 1.0, rows), rng.uniform(0.0, 0.5, rows))
    return labels, scores, languages
