"""How fast cold start should hand over to retrieval and ranking, read off validation items.

`streamrec recommendations hand-over` prints the NDCG of the pooled order for a grid of kappa
(`pipeline.hand_over.HandOver`), over histories cut to their last n interactions. The figures come from each
user's second-last item; the models have seen neither that nor the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, UserState
from services.recommendations.contracts.stages import COLD_START
from services.recommendations.pipeline.hand_over import HandOver, merge, pooled_scores
from services.recommendations.pipeline.local_stages import LocalModels, draw_from_posterior
from services.recommendations.training.histories import user_states
from streamrec.contracts.errors import InvalidInputError
from streamrec.datasets.dataset import Dataset
from streamrec.training.ranking_metrics import ndcg_at
from streamrec.training.splits import Split

KAPPAS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Tried in turn."""

HISTORY_LENGTHS: Final = (1, 2, 3, 5, 8, 13, 21)
"""Interactions that a case knows of its user; without any there is nothing to hand over."""

DEPTH: Final = 10


@dataclass(frozen=True)
class HandOverCurve:
    """NDCG@10 on validation items by kappa.

    Attributes:
        kappas: Length k.
        history_lengths: Length h.
        ndcg: Shape (k, h): mean over users.
        errors: Shape (k,): standard error of a kappa's mean; a user's answers count as one.
        cases: Shape (h,): users of each history length.
    """

    kappas: tuple[float, ...]
    history_lengths: tuple[int, ...]
    ndcg: NDArray[np.float64]
    errors: NDArray[np.float64]
    cases: NDArray[np.int64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Shape (k,): mean over the history lengths that have cases; each counts the same."""
        present = self.cases > 0
        return np.asarray(self.ndcg[:, present].mean(axis=1))

    @property
    def best(self) -> float:
        """The kappa with the highest mean; the smallest one of several."""
        return self.kappas[int(np.argmax(self.mean))]

    @property
    def chosen(self) -> float:
        """The largest kappa that is not worse than the best by more than a standard error.

        The one-standard-error rule (Breiman et al. 1984, sec. 3.4.3) towards cold start, which explores.
        """
        best = int(np.argmax(self.mean))
        enough = np.flatnonzero(self.mean >= self.mean[best] - self.errors[best])
        return self.kappas[int(enough[-1])]


@dataclass(frozen=True)
class _Case:
    """What the stages said of one user with a history of one length."""

    cold: Candidates
    found: Candidates
    ranked: Mapping[str, float]
    target: str
    seen: frozenset[str]


def hand_over_curve(
    models: LocalModels,
    dataset: Dataset,
    split: Split,
    *,
    users: int,
    kappas: Sequence[float] = KAPPAS,
    advance: Callable[[], None] = lambda: None,
) -> HandOverCurve:
    """Measure the pooled order for each kappa on ``users`` evenly spread users' validation items.

    Args:
        models: The four models, fitted on ``split.train``.
        dataset: Where segments and item ids come from.
        split: What is held out.
        users: Most users; every one answers once per history length.
        kappas: To be tried.
        advance: Called after each user.

    Raises:
        InvalidInputError: There is nobody to measure on.
    """
    if len(split.evaluated) == 0:
        raise InvalidInputError("users", "no user has enough interactions to hold one out")
    chosen = np.unique(np.linspace(0, len(split.evaluated) - 1, users).astype(np.int64))
    totals = np.zeros((len(kappas), len(HISTORY_LENGTHS)))
    by_user: list[NDArray[np.float64]] = []
    cases = np.zeros(len(HISTORY_LENGTHS), dtype=np.int64)
    hand_overs = [HandOver(kappa) for kappa in kappas]
    states = user_states(dataset, split.train, split.evaluated[chosen])
    targets = split.validation[chosen].tolist()
    for user, target in zip(states, targets, strict=True):
        advance()
        wanted = dataset.catalogue.item_ids[target]
        if wanted in user.history:
            continue
        lengths = [length for length in HISTORY_LENGTHS if length <= len(user.history)]
        if not lengths:
            continue
        values = np.empty((len(kappas), len(lengths)))
        for column, length in enumerate(lengths):
            case = _case(models, user, length, wanted)
            values[:, column] = [_ndcg(case, hand_over.weight(length)) for hand_over in hand_overs]
        totals[:, : len(lengths)] += values
        cases[: len(lengths)] += 1
        by_user.append(values.mean(axis=1))
    if not by_user:
        raise InvalidInputError("users", "no user has a history and a validation item that is new to it")
    errors = np.std(by_user, axis=0) / np.sqrt(len(by_user))
    return HandOverCurve(tuple(kappas), HISTORY_LENGTHS, totals / np.maximum(cases, 1), errors, cases)


def _case(models: LocalModels, user: UserState, length: int, target: str) -> _Case:
    short = replace(user, history=user.history[len(user.history) - length :])
    version = models.versions[COLD_START]
    cold = draw_from_posterior(models.cold_start, version, short, CANDIDATE_COUNT, "hand-over")
    found = models.retrieval.retrieve(short, CANDIDATE_COUNT)
    every = tuple(dict.fromkeys((*cold.item_ids, *found.item_ids)))
    # A ranker's score does not depend on the other candidates: ranked once, every kappa's choice is known.
    ranked = models.ranking.rank(short, Candidates(every, np.zeros(len(every), dtype=np.float32)))
    scores = dict(zip(ranked.item_ids, ranked.scores.tolist(), strict=True))
    return _Case(cold, found, scores, target, frozenset(user.history))


def _ndcg(case: _Case, weight: float) -> float:
    merged = merge(case.cold, case.found, weight, CANDIDATE_COUNT)
    item_ids = merged if weight > 0.0 else case.found.item_ids
    scores = np.array([case.ranked[item_id] for item_id in item_ids], dtype=np.float32)
    ordered = Candidates.from_scores(item_ids, scores)
    if weight > 0.0:
        ordered = pooled_scores(ordered.item_ids, case.cold, ordered, weight)
    # What the user has really seen is filtered, however short the history that the stages were shown.
    unseen = [item_id for item_id in ordered.item_ids if item_id not in case.seen][:DEPTH]
    place = unseen.index(case.target) if case.target in unseen else -1
    return float(ndcg_at(np.array([place], dtype=np.int32), DEPTH)[0])
