"""Cold start as a deployment: the champion posterior over the index of its retrieval version."""

from __future__ import annotations

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, ColdStarter, UserState
from services.recommendations.contracts.stages import RETRIEVAL, StageReply, draw_from_posterior
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replica import WARM_UP_USER, StageReplica
from streamrec.contracts.errors import ArtifactError
from streamrec.serving.slot import FetchedModel
from streamrec.stats.random_state import generator_for


class ColdStartDeployment(StageReplica[ColdStarter]):
    """Implements `ColdStartStage`. Update, draw and search take a millisecond: they run on the event loop."""

    def __init__(self, source: ModelSource, model_name: str) -> None:
        super().__init__(source, model_name, load_cold_starter, _warm_up)

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """See `ColdStartStage.retrieve`."""
        loaded = self.current()
        version = loaded.ref.version
        return StageReply(draw_from_posterior(loaded.model, version, user, count, request_id), version)


def load_cold_starter(fetched: FetchedModel) -> ColdStarter:
    """Load a verified artifact and the index whose space it lives in.

    Raises:
        ArtifactError: The version does not say which retrieval version it belongs to.
    """
    from services.recommendations.cold_start.model import ColdStartModel
    from services.recommendations.item_index.index import ItemIndex

    try:
        retrieval = fetched.dependencies[RETRIEVAL]
    except KeyError as error:
        raise ArtifactError(
            f"{fetched.version.ref} does not say which retrieval version's space it lives in; train it again"
        ) from error
    return ColdStartModel.load(fetched.folder, ItemIndex.load(retrieval.folder))


def _warm_up(model: ColdStarter) -> None:
    model.retrieve(WARM_UP_USER, CANDIDATE_COUNT, generator_for(WARM_UP_USER.user_id))
