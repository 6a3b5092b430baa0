"""How well short histories predict the next item, beside what popularity alone would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.training.histories import user_states
from streamrec.datasets.dataset import Dataset
from streamrec.stats.random_state import generator_for
from streamrec.training.ranking_metrics import ndcg_at
from streamrec.training.splits import Split

HISTORY_LENGTHS: Final = (0, 1, 2, 3, 4, 5)
"""Interactions that the cases know of their user."""

_DEPTH: Final = 10


@dataclass(frozen=True)
class Cases:
    """Users with their histories cut short, and the item each took up next.

    What a user has really seen is filtered from every ranking, however short the history that a model is
    shown: the items of the cut-off part were taken up already, so none of them can be the next one, and a
    model that recommends them, which is a good guess, would be counted as wrong.

    Attributes:
        users: Segments and short histories.
        targets: Shape (len(users),): item rows.
        seen: Item rows of everything that each user did before the target.
    """

    users: list[UserState]
    targets: NDArray[np.int64]
    seen: list[NDArray[np.int64]]

    @classmethod
    def cut(
        cls, users: Sequence[UserState], targets: NDArray[np.integer], row_of: Mapping[str, int]
    ) -> Cases:
        """Each user once per history length, with the last interactions before the target.

        Users who had taken up their target before are left out: it is filtered.
        """
        cut: list[UserState] = []
        rows: list[int] = []
        seen: list[NDArray[np.int64]] = []
        for user, target in zip(users, targets.tolist(), strict=True):
            known = np.array(
                sorted({row_of[item] for item in user.history if item in row_of}), dtype=np.int64
            )
            if target in known:
                continue
            for length in HISTORY_LENGTHS:
                if length <= len(user.history):
                    cut.append(replace(user, history=user.history[len(user.history) - length :]))
                    rows.append(target)
                    seen.append(known)
        return cls(cut, np.array(rows, dtype=np.int64), seen)


def held_out_cases(
    dataset: Dataset, split: Split, index: ItemIndex, count: int, *, under_test: bool
) -> Cases:
    """Cut cases of at most ``count`` evaluated users, evenly spread, whose held-out item the index holds.

    Args:
        dataset: Where segments and item ids come from.
        split: What is held out.
        index: The model's.
        count: Most users; each gives a case per history length.
        under_test: Whether the last item is the target, with the validation item in the history; else it is
            the second-last.
    """
    row_of = index.row_of
    targets, histories = (split.test, split.history) if under_test else (split.validation, split.train)
    # The index may order its rows otherwise than the catalogue; -1 where it lacks the item.
    wanted = np.array([row_of.get(split.catalogue.item_ids[item], -1) for item in targets], dtype=np.int64)
    rows = np.flatnonzero(wanted >= 0)
    if len(rows) > count:
        rows = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    users = list(user_states(dataset, histories, split.evaluated[rows]))
    return Cases.cut(users, wanted[rows], row_of)


def assess(
    model: ColdStartModel, cases: Cases, interactions: Sequence[tuple[Segment, NDArray[np.integer]]]
) -> dict[str, float]:
    """Mean NDCG@10, full ranking, of the model as served, of its posterior mean, and of popularity.

    Args:
        model: The model.
        cases: Cases that nothing was fitted on.
        interactions: Segment and item rows of each training user: what popularity is counted from.

    Returns:
        ``ndcg@10``, ``ndcg@10_greedy``, ``ndcg@10_popularity``, ``ndcg@10_popularity_per_segment`` over all
        cases, and the first two per history length; empty without cases.
    """
    if not cases.users:
        return {}
    greedy = replace(model, blend=replace(model.blend, exploration=0.0))
    everybody, by_segment = _popular_items(interactions, len(model.index))
    values: dict[str, list[float]] = {}
    for user, target, known in zip(cases.users, cases.targets.tolist(), cases.seen, strict=True):
        rng = generator_for("assess", user.user_id, str(len(user.history)))
        seen = set(known.tolist())
        own = by_segment.get(user.segment, [])
        found = {
            "ndcg@10": _ndcg(_recommended(model, user, len(seen), rng), seen, target),
            "ndcg@10_greedy": _ndcg(_recommended(greedy, user, len(seen), rng), seen, target),
            "ndcg@10_popularity": _ndcg(everybody, seen, target),
            "ndcg@10_popularity_per_segment": _ndcg(_distinct(own, everybody), seen, target),
        }
        for name in ("ndcg@10", "ndcg@10_greedy"):
            found[f"{name}_history_{len(user.history)}"] = found[name]
        for name, value in found.items():
            values.setdefault(name, []).append(value)
    return {name: float(np.mean(results)) for name, results in sorted(values.items())}


def _recommended(model: ColdStartModel, user: UserState, seen: int, rng: np.random.Generator) -> list[int]:
    item_ids = model.retrieve(user, _DEPTH + seen, rng).item_ids
    return [model.index.row_of[item] for item in item_ids]


def _ndcg(ranking: Iterable[int], seen: set[int], target: int) -> float:
    unseen = list(islice((row for row in ranking if row not in seen), _DEPTH))
    position = unseen.index(target) if target in unseen else -1
    return float(ndcg_at(np.array([position], dtype=np.int32), _DEPTH)[0])


def _distinct(first: list[int], second: list[int]) -> Iterator[int]:
    yield from first
    done = set(first)
    yield from (row for row in second if row not in done)


def _popular_items(
    interactions: Sequence[tuple[Segment, NDArray[np.integer]]], item_count: int
) -> tuple[list[int], dict[Segment, list[int]]]:
    """Item rows, most popular first, among everybody and in each segment; ties go by everybody's count."""
    total = np.zeros(item_count)
    counts: dict[Segment, Counter[int]] = {}
    for segment, items in interactions:
        np.add.at(total, items, 1.0)
        counts.setdefault(segment, Counter()).update(items.tolist())
    by_segment = {
        segment: sorted(counter, key=lambda row: (-counter[row], -total[row], row))
        for segment, counter in counts.items()
    }
    return np.argsort(-total, kind="stable").tolist(), by_segment
