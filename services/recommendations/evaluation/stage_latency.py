"""Time of one call of a stage, on one core, for some users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.recommendations.contracts.candidates import (
    CANDIDATE_COUNT,
    Candidates,
    ColdStarter,
    Ranker,
    Reranker,
    Retriever,
    UserState,
)
from services.recommendations.evaluation.call_latency import time_calls
from streamrec.stats.random_state import generator_for
from streamrec.training.model_card import CallLatency

TIMED_CALLS: Final = 200
"""Users that a call is timed for; enough for a 99th percentile that is not the largest value."""

RankingRequest = tuple[UserState, Candidates]


def ranking_requests(
    users: Sequence[UserState], item_ids: Sequence[str], *, seed: int
) -> list[tuple[UserState, Candidates]]:
    """Each user with `CANDIDATE_COUNT` candidates drawn from the catalogue: for timing, not for quality."""
    rng = np.random.default_rng(seed)
    count = min(CANDIDATE_COUNT, len(item_ids))
    requests = []
    for user in users:
        rows = rng.choice(len(item_ids), size=count, replace=False)
        scores = -np.arange(count, dtype=np.float32)
        requests.append((user, Candidates(tuple(item_ids[row] for row in rows.tolist()), scores)))
    return requests


def ranking_latency(ranker: Ranker, requests: Sequence[RankingRequest]) -> CallLatency:
    """Rank each request's candidates."""
    return time_calls(
        f"rank {CANDIDATE_COUNT} candidates for one user", lambda request: ranker.rank(*request), requests
    )


def reranking_latency(reranker: Reranker, requests: Sequence[RankingRequest]) -> CallLatency:
    """Choose a slate from each request's candidates."""
    return time_calls(
        f"re-rank {CANDIDATE_COUNT} candidates for one user",
        lambda request: reranker.rerank(request[1], request[0], 0.0),
        requests,
    )


def retrieval_latency(retriever: Retriever, users: Sequence[UserState]) -> CallLatency:
    """Find each user's candidates."""
    return time_calls(
        f"find {CANDIDATE_COUNT} candidates for one user",
        lambda user: retriever.retrieve(user, CANDIDATE_COUNT),
        users,
    )


def cold_start_latency(model: ColdStarter, users: Sequence[UserState]) -> CallLatency:
    """Update each user's posterior, draw from it and find candidates."""
    return time_calls(
        f"update, draw and find {CANDIDATE_COUNT} candidates for one user",
        lambda user: model.retrieve(user, CANDIDATE_COUNT, generator_for("latency", user.user_id)),
        users,
    )
