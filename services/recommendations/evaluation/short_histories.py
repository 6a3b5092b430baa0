"""Cold start: how well the next item is found when only 0 to 5 interactions are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import ColdStarter, Segment, UserState
from services.recommendations.evaluation.held_out_users import HeldOutUser
from services.recommendations.training.histories import segments_by_user
from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.stats.intervals import shifted
from streamrec.stats.random_state import generator_for
from streamrec.stats.ratios import bootstrap_ratio
from streamrec.training.ranking_metrics import ndcg_at
from streamrec.training.splits import Split, UserHistories

HISTORY_LENGTHS: Final = (0, 1, 2, 3, 4, 5)
_DEPTH: Final = 10

Answer = Callable[[UserState, int], Sequence[str]]
"""At most so many items for a user, best first; may hold items that were not in the shortened history."""


@dataclass(frozen=True)
class ShortHistoryFigures:
    """NDCG@10 of one history length, or of all.

    Attributes:
        cases: Users times history lengths.
        model: Mean over the cases; the interval is over users.
        popularity_per_segment: The same of what is most popular in the user's segment.
        gain: Mean of the model over that of popularity, minus 1, with a paired interval; None where
            popularity finds too few items for a ratio.
    """

    cases: int
    model: Interval
    popularity_per_segment: Interval
    gain: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "cases": self.cases,
            "ndcg@10": interval_json(self.model),
            "ndcg@10_popularity_per_segment": interval_json(self.popularity_per_segment),
            "gain": interval_json(self.gain),
        }


@dataclass(frozen=True)
class ShortHistories:
    """Figures over all cases and by history length."""

    overall: ShortHistoryFigures
    by_history_length: Mapping[int, ShortHistoryFigures]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "overall": self.overall.to_json(),
            "by_history_length": {
                str(length): figures.to_json() for length, figures in self.by_history_length.items()
            },
        }


def measure_cold_start(
    model: ColdStarter,
    users: Sequence[HeldOutUser],
    dataset: Dataset,
    split: Split,
    *,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> ShortHistories:
    """Short histories of some users, answered by the cold-start model with one posterior draw each."""

    def answer(state: UserState, count: int) -> Sequence[str]:
        rng = generator_for("evaluation", str(seed), state.user_id, str(len(state.history)))
        return model.retrieve(state, count, rng).item_ids

    by_user = segments_by_user(dataset)
    segments = [by_user[user_id] for user_id in split.train.user_ids]
    popularity = popular_in_segments(segments, split.train, len(split.catalogue), wanted=users)
    return measure_short_histories(answer, users, split.catalogue, popularity, seed=seed, advance=advance)


def measure_short_histories(
    answer: Answer,
    users: Sequence[HeldOutUser],
    catalogue: Catalogue,
    popularity: Mapping[Segment, NDArray[np.int64]],
    *,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> ShortHistories:
    """Cut each history to its last 0..5 interactions and rank the whole catalogue.

    What a user has really seen is filtered from every ranking, however short the history that the model is
    shown: none of it can be the next item.

    Args:
        answer: The model.
        users: Whom to measure on.
        catalogue: Names the rows of ``popularity``.
        popularity: From `popular_in_segments`.
        seed: Of the resamples.
        advance: Called after each user.

    Raises:
        InvalidInputError: There are no users.
    """
    if not users:
        raise InvalidInputError("users", "no user has a held-out item")
    values = np.full((len(users), len(HISTORY_LENGTHS)), np.nan)
    reference = np.empty(len(users))
    for row, user in enumerate(users):
        history = user.state.history
        seen = set(history)
        popular = popularity[user.state.segment]
        names = (catalogue.item_ids[item] for item in popular[: _DEPTH + len(seen)].tolist())
        reference[row] = _ndcg(names, seen, user.target)
        for column, length in enumerate(HISTORY_LENGTHS):
            if length <= len(history):
                state = replace(user.state, history=history[len(history) - length :])
                found = answer(state, _DEPTH + min(len(seen), HISTORY_LIMIT))
                values[row, column] = _ndcg(found, seen, user.target)
        advance()
    known = ~np.isnan(values)
    model = np.where(known, values, 0.0)
    references = known * reference[:, None]
    return ShortHistories(
        overall=_figures(model.sum(axis=1), references.sum(axis=1), known.sum(axis=1), seed),
        by_history_length={
            length: _figures(model[mask, column], references[mask, column], mask[mask], seed)
            for column, length in enumerate(HISTORY_LENGTHS)
            if (mask := known[:, column]).any()
        },
    )


def popular_in_segments(
    segments: Sequence[Segment], train: UserHistories, item_count: int, *, wanted: Sequence[HeldOutUser]
) -> dict[Segment, NDArray[np.int64]]:
    """Item rows of each wanted user's segment, most popular first; ties go by everybody's count, then row.

    Args:
        segments: Of each user of ``train``.
        train: What popularity is counted from.
        item_count: Size of the catalogue.
        wanted: Users whose segments are needed; each list is as long as they can use.
    """
    depths: dict[Segment, int] = {}
    for user in wanted:
        depth = _DEPTH + len(set(user.state.history))
        depths[user.state.segment] = max(depth, depths.get(user.state.segment, 0))
    members: dict[Segment, list[int]] = {segment: [] for segment in depths}
    for row, segment in enumerate(segments):
        if segment in members:
            members[segment].append(row)
    total = np.bincount(train.items, minlength=item_count)
    popular = {}
    for segment, rows in members.items():
        items = np.concatenate([train.of(row) for row in rows] or [np.empty(0, dtype=np.int32)])
        own = np.bincount(items, minlength=item_count)
        popular[segment] = np.lexsort((-total, -own))[: depths[segment]]
    return popular


def _figures(
    model: NDArray[np.float64], reference: NDArray[np.float64], cases: NDArray[np.integer], seed: int
) -> ShortHistoryFigures:
    counts = cases.astype(np.float64)
    rng = np.random.default_rng
    found = bootstrap_ratio(model, counts, rng=rng(seed))
    popular = bootstrap_ratio(reference, counts, rng=rng(seed))
    if found is None or popular is None:  # every user has at least the case of an empty history
        raise ValueError("users without cases")
    ratio = bootstrap_ratio(model, reference, rng=rng(seed))
    return ShortHistoryFigures(int(cases.sum()), found, popular, shifted(ratio, -1.0))


def _ndcg(ranking: Iterable[str], seen: set[str], target: str) -> float:
    place = 0
    for item in ranking:
        if item in seen:
            continue
        if item == target:
            return float(ndcg_at(np.array([place], dtype=np.int32), _DEPTH)[0])
        place += 1
        if place == _DEPTH:
            break
    return 0.0
