"""Applications of the shape of the real one, without models, for `LocalServeSettings.build`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.recommendations.contracts.stages import COLD_START, MODEL_STAGES, RANKING, RETRIEVAL
from services.recommendations.gateway.settings import GatewayParts
from services.recommendations.serving.application import GATEWAY, GraphSettings
from services.recommendations.serving.model_source import ModelSource

if TYPE_CHECKING:
    from ray.serve import Application


def build_empty_graph(
    settings: GraphSettings,
    _models: ModelSource,
    _parts: GatewayParts,
    *,
    history_lengths: tuple[int, ...],
) -> Application:
    """The graph with its stages apart: the same hops and messages, and nothing that computes.

    Args:
        settings: The replicas.
        history_lengths: See `EmptyGateway`.
    """
    from ray import serve

    from services.recommendations.serving.empty.deployments import EmptyGateway, EmptyStage
    from services.recommendations.serving.ray_stages import RayStages

    stages = {
        stage: serve.deployment(EmptyStage, name=stage, **settings.replicas[stage].as_options()).bind(
            stage, finds=stage in (RETRIEVAL, COLD_START), scores=stage == RANKING
        )
        for stage in MODEL_STAGES
    }
    gateway = serve.deployment(
        serve.ingress()(EmptyGateway), name=GATEWAY, **settings.replicas[GATEWAY].as_options()
    )
    application: Application = gateway.bind(history_lengths, RayStages(**stages))
    return application


def build_empty_hop(settings: GraphSettings, _models: ModelSource, _parts: GatewayParts) -> Application:
    """A gateway that makes one call of one empty deployment."""
    from ray import serve

    from services.recommendations.serving.empty.deployments import EmptyHop, EmptyHopGateway

    hop = serve.deployment(EmptyHop, name="hop", **settings.replicas[RANKING].as_options()).bind()
    gateway = serve.deployment(
        serve.ingress()(EmptyHopGateway), name=GATEWAY, **settings.replicas[GATEWAY].as_options()
    )
    application: Application = gateway.bind(hop)
    return application
