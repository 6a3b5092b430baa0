"""Retrieval as a deployment: the champion two-tower model, one request at a time."""

from __future__ import annotations

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Retriever, UserState
from services.recommendations.contracts.stages import StageReply
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import WARM_UP_USER, StageReplica
from streamrec.serving.slot import FetchedModel


class RetrievalDeployment(StageReplica[Retriever]):
    """Implements `RetrievalStage`. The search takes a millisecond, so it runs on the event loop."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_retriever, _warm_up)

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        """See `RetrievalStage.retrieve`."""
        loaded = self.current()
        return StageReply(loaded.model.retrieve(user, count), loaded.ref.version)


def load_retriever(fetched: FetchedModel) -> Retriever:
    """Load a verified artifact."""
    from services.recommendations.retrieval.model import TwoTowerRetriever

    return TwoTowerRetriever.load(fetched.folder)


def _warm_up(model: Retriever) -> None:
    model.retrieve(WARM_UP_USER, CANDIDATE_COUNT)
