"""Re-ranking: who is shown before and after it, and what that costs in relevance, for the same requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, Reranker, UserState
from services.recommendations.evaluation.request_sample import RequestSample
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.datasets.catalogue import Catalogue
from streamrec.stats.exposure import GroupExposure, group_exposure
from streamrec.stats.inequality import gini
from streamrec.stats.intervals import basic_interval, shifted, within
from streamrec.stats.ratios import bootstrap_ratio
from streamrec.training.ranking_metrics import ndcg_at

SLATE_LENGTH: Final = 10
_RESAMPLES: Final = 1000


@dataclass(frozen=True)
class SlateRequest:
    """One request as far as the re-ranker.

    Attributes:
        user: Who asks.
        candidates: In the order of relevance.
        target: The item that the user took up next.
        weight: How many requests of the traffic this one stands for.
        is_shortened: Whether the history was cut to its first few interactions.
    """

    user: UserState
    candidates: Candidates
    target: str
    weight: float
    is_shortened: bool


@dataclass(frozen=True)
class SlateFigures:
    """What one way of choosing slates does.

    Attributes:
        language_gini: Exposure Gini over the creator languages of the catalogue, ``unknown`` left out; the
            interval is over users. None where fewer than two languages are known.
        creators: Exposure of the known creators of the catalogue, requests counted once; None where there are
            none.
        ndcg: NDCG@10 of the held-out item, requests by their weight.
    """

    language_gini: Interval | None
    creators: GroupExposure | None
    ndcg: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "creator_language_gini": interval_json(self.language_gini),
            "creator_gini": self.creators.gini if self.creators else None,
            "exposed_creators_share": self.creators.exposed_share if self.creators else None,
            "ndcg@10": interval_json(self.ndcg),
        }


@dataclass(frozen=True)
class SlateChange:
    """Slates in relevance order and as re-ranked, for the same requests.

    Attributes:
        users: Users who asked.
        before, after: Without and with re-ranking.
        ndcg_loss: Share of NDCG@10 that re-ranking costs, with a paired interval; negative where it gains.
            None where too few held-out items are found for a ratio.
    """

    users: int
    before: SlateFigures
    after: SlateFigures
    ndcg_loss: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "users": self.users,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "ndcg@10_loss": interval_json(self.ndcg_loss),
        }


@dataclass(frozen=True)
class SlateComparison:
    """What re-ranking changes over all traffic, for whole and for shortened histories; None without any."""

    traffic: SlateChange
    whole_histories: SlateChange | None
    shortened_histories: SlateChange | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: the traffic's figures, with ``whole_histories`` and ``shortened_histories``."""
        parts = {"whole_histories": self.whole_histories, "shortened_histories": self.shortened_histories}
        return {
            **self.traffic.to_json(),
            **{name: None if part is None else part.to_json() for name, part in parts.items()},
        }


def slate_requests(sample: RequestSample) -> list[SlateRequest]:
    """The rows of a sample, one by one."""
    rows = zip(sample.ranked, sample.held_out, sample.weights, sample.is_shortened, strict=True)
    return [
        SlateRequest(user, candidates, target, weight, is_shortened)
        for (user, candidates), target, weight, is_shortened in rows
    ]


def compare_slates(
    reranker: Reranker,
    requests: Sequence[SlateRequest],
    catalogue: Catalogue,
    *,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> SlateComparison:
    """Re-rank each request's candidates to a slate of `SLATE_LENGTH` and compare it with the first so many.

    Requests whose held-out item the user had seen before are left out, as in
    `streamrec.training.evaluation`: no list may hold it.

    Raises:
        InvalidInputError: No request is left.
    """
    kept = [request for request in requests if request.target not in request.user.history]
    if not kept:
        raise InvalidInputError("requests", "none has a held-out item that could be found")
    shown = np.full((2, len(kept), SLATE_LENGTH), -1, dtype=np.int64)
    ranks = np.full((2, len(kept)), -1, dtype=np.int32)
    row_of = catalogue.row_of
    for position, request in enumerate(kept):
        reranked = reranker.rerank(request.candidates, request.user, 0.0, slate_length=SLATE_LENGTH)
        for way, candidates in enumerate((request.candidates, reranked)):
            slate = candidates.item_ids[:SLATE_LENGTH]
            shown[way, position, : len(slate)] = [row_of[item] for item in slate]
            if request.target in slate:
                ranks[way, position] = slate.index(request.target)
        advance()
    _, owner = np.unique([request.user.user_id for request in kept], return_inverse=True)
    weights = np.array([request.weight for request in kept])
    is_shortened = np.array([request.is_shortened for request in kept])

    def change(chosen: NDArray[np.bool_]) -> SlateChange | None:
        if not weights[chosen].any():
            return None
        _, users = np.unique(owner[chosen], return_inverse=True)
        return _change(shown[:, chosen], ranks[:, chosen], users, weights[chosen], catalogue, seed)

    traffic = change(np.ones(len(kept), dtype=np.bool_))
    if traffic is None:
        raise InvalidInputError("requests", "none of them has any weight in the traffic")
    return SlateComparison(
        traffic, whole_histories=change(~is_shortened), shortened_histories=change(is_shortened)
    )


def gini_interval(exposure: NDArray[np.float64], *, seed: int) -> Interval | None:
    """Gini of the summed exposure with a basic bootstrap interval over users.

    The Gini of a sum is not a mean over users, so the sums are resampled, not the users' own values.
    Resampled sums are more unequal than the sum itself, as that is than the expectation; the basic interval
    reflects the resamples at the estimate and so takes that out (Davison and Hinkley 1997, eq. 5.6), which
    percentiles of the resamples would count twice.

    Args:
        exposure: Shape (users, groups): what each user's slates give to each group.
        seed: Of the resamples.

    Returns:
        None where nothing is exposed, or there is one group only and so nothing to spread.
    """
    if exposure.shape[1] < 2 or exposure.sum() == 0:
        return None
    users = len(exposure)
    weights = np.random.default_rng(seed).multinomial(users, np.full(users, 1.0 / users), size=_RESAMPLES)
    sums = np.sort(weights @ exposure, axis=1)
    sums = sums[sums[:, -1] > 0]
    groups = sums.shape[1]
    values = sums @ (2.0 * np.arange(1, groups + 1) - groups - 1) / (groups * sums.sum(axis=1))  # as `gini`
    value = gini(exposure.sum(axis=0))
    return within(basic_interval(value, values, confidence=0.95, units=users), 0.0, 1.0)


def _change(
    shown: NDArray[np.int64],
    ranks: NDArray[np.int32],
    owner: NDArray[np.int64],
    weights: NDArray[np.float64],
    catalogue: Catalogue,
    seed: int,
) -> SlateChange:
    users = int(owner.max()) + 1
    weight_of = _sums(owner, weights, users)
    ndcg = [_sums(owner, weights * ndcg_at(way, SLATE_LENGTH), users) for way in ranks]
    ratio = bootstrap_ratio(ndcg[1], ndcg[0], rng=np.random.default_rng(seed))
    figures = []
    for way in (0, 1):
        exposure = _language_exposure(shown[way], owner, weights, catalogue)
        mean = bootstrap_ratio(ndcg[way], weight_of, rng=np.random.default_rng(seed))
        if mean is None:  # every user has a positive weight
            raise ValueError("users without weight")
        figures.append(
            SlateFigures(
                language_gini=gini_interval(exposure, seed=seed),
                creators=_creators(shown[way], catalogue),
                ndcg=mean,
            )
        )
    return SlateChange(users, figures[0], figures[1], shifted(ratio, 1.0, sign=-1.0))


def _sums(owner: NDArray[np.int64], values: NDArray[np.float64], users: int) -> NDArray[np.float64]:
    """Shape (users,): values added up by the user they belong to."""
    sums = np.zeros(users)
    np.add.at(sums, owner, values)
    return sums


def _language_exposure(
    shown: NDArray[np.int64], owner: NDArray[np.int64], weights: NDArray[np.float64], catalogue: Catalogue
) -> NDArray[np.float64]:
    """Shape (users, known languages)."""
    requests, positions = np.nonzero(shown >= 0)
    codes = catalogue.language_codes[shown[requests, positions]]
    exposure = np.zeros((int(owner.max()) + 1, len(catalogue.languages)))
    np.add.at(exposure, (owner[requests], codes), weights[requests])
    return exposure[:, [language != UNKNOWN for language in catalogue.languages]]


def _creators(shown: NDArray[np.int64], catalogue: Catalogue) -> GroupExposure | None:
    creator_of = {
        item: creator
        for item, creator in zip(catalogue.item_ids, catalogue.creator_ids, strict=True)
        if creator != UNKNOWN
    }
    slates = ([catalogue.item_ids[item] for item in slate if item >= 0] for slate in shown.tolist())
    return group_exposure(slates, creator_of) if creator_of else None
