"""Loading the four models of registered versions into this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.contracts.candidates import Reranker
from services.recommendations.contracts.stages import COLD_START, RANKING, RERANKING, RETRIEVAL
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.reranking.relevance_order import RelevanceOrder
from services.recommendations.retrieval.model import TwoTowerRetriever
from streamrec.registry.model_registry import ModelRegistry, ModelVersion

_AN_HOUR_MS: Final = 3_600_000.0


def load_models(registry: ModelRegistry, versions: Mapping[str, ModelVersion]) -> LocalModels:
    """Fetch, verify and load one version of each stage.

    Args:
        registry: Where the artifacts are.
        versions: By stage name, all four.
    """
    # What is computed offline must not depend on how busy the machine is.
    untimed = {"latency_budget_ms": _AN_HOUR_MS, "fallback_mode": False}
    reranking = DiversityReranker.load(registry.fetch(versions[RERANKING]), **untimed)
    return _load(registry, versions, reranking)


def load_candidate_models(registry: ModelRegistry, versions: Mapping[str, ModelVersion]) -> LocalModels:
    """As `load_models` without a re-ranker: answers come in the order of relevance.

    Args:
        registry: Where the artifacts are.
        versions: By stage name: retrieval, cold start and ranking.
    """
    return _load(registry, versions, RelevanceOrder())


def _load(registry: ModelRegistry, versions: Mapping[str, ModelVersion], reranking: Reranker) -> LocalModels:
    folders = {stage: registry.fetch(versions[stage]) for stage in (RETRIEVAL, COLD_START, RANKING)}
    # Cold start lives in the space of the retrieval version that it was trained with.
    space = registry.fetch(registry.get(versions[COLD_START].depends_on["retrieval"]))
    return LocalModels(
        retrieval=TwoTowerRetriever.load(folders[RETRIEVAL]),
        cold_start=ColdStartModel.load(folders[COLD_START], ItemIndex.load(space)),
        ranking=StudentRanker.load(folders[RANKING]),
        reranking=reranking,
        versions={stage: version.ref.version for stage, version in versions.items()},
    )
