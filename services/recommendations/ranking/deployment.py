"""Ranking as a deployment: the champion student, one request at a time."""

from __future__ import annotations

import numpy as np

from services.recommendations.contracts.candidates import Candidates, Ranker, UserState
from services.recommendations.contracts.stages import StageReply
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import WARM_UP_USER, StageReplica
from streamrec.serving.slot import FetchedModel


class RankingDeployment(StageReplica[Ranker]):
    """Implements `RankingStage`. A replica has one core, so a thread would only add a hand-over."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_ranker, _warm_up)

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        """See `RankingStage.rank`."""
        loaded = self.current()
        return StageReply(loaded.model.rank(user, candidates), loaded.ref.version)


def load_ranker(fetched: FetchedModel) -> Ranker:
    """Load a verified artifact."""
    from services.recommendations.ranking.student.model import StudentRanker

    return StudentRanker.load(fetched.folder)


def _warm_up(model: Ranker) -> None:
    # Items that no catalogue has: a ranker must score them too.
    candidates = Candidates(("warm-up-1", "warm-up-2"), np.array([1.0, 0.5], dtype=np.float32))
    model.rank(WARM_UP_USER, candidates)
