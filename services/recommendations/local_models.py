"""Loading the four models of registered versions into this process."""

from __future__ import annotations

from collections.abc import Mapping

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.gateway.stages import COLD_START, RANKING, RERANKING, RETRIEVAL, LocalModels
from services.recommendations.item_index import ItemIndex
from services.recommendations.ranking.model import RankingModel
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.retrieval.model import TwoTowerRetriever
from streamrec.registry.model_registry import ModelRegistry, ModelVersion


def load_models(registry: ModelRegistry, versions: Mapping[str, ModelVersion]) -> LocalModels:
    """Fetch, verify and load one version of each stage.

    Args:
        registry: Where the artifacts are.
        versions: By stage name, all four.
    """
    folders = {stage: registry.fetch(version) for stage, version in versions.items()}
    # Cold start lives in the space of the retrieval version that it was trained with.
    space = registry.fetch(registry.get(versions[COLD_START].depends_on["retrieval"]))
    return LocalModels(
        retrieval=TwoTowerRetriever.load(folders[RETRIEVAL]),
        cold_start=ColdStartModel.load(folders[COLD_START], ItemIndex.load(space)),
        ranking=RankingModel.load(folders[RANKING]),
        reranking=DiversityReranker.load(folders[RERANKING]),
        versions={stage: version.ref.version for stage, version in versions.items()},
    )
