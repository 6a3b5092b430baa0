"""The serving graph: the gateway as a Ray Serve deployment; the stages within it, or as deployments too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from services.recommendations.contracts.placement import Placement
from services.recommendations.contracts.stages import (
    COLD_START,
    MODEL_STAGES,
    RANKING,
    RERANKING,
    RETRIEVAL,
)
from services.recommendations.exposure_control.price_files import PriceFiles
from services.recommendations.gateway.settings import GatewayParts, GatewaySettings
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.serving.model_source import ModelSource

if TYPE_CHECKING:
    from ray.serve import Application

    from services.recommendations.serving.ray_stages import RayStages
    from services.recommendations.serving.versioned_stages import OpensStages

APPLICATION_NAME: Final = "recommendations"
GATEWAY: Final = "gateway"
CHALLENGER_PREFIX: Final = "challenger_"
"""Before a stage's name, the name of the deployment of its challengers."""

_FOR_EVER: Final = 2**31 - 1
_CHALLENGER_METRICS_S: Final = 1.0
_CHALLENGER_LOOK_BACK_S: Final = 5.0
"""By Ray's default of half a minute, a replica would be held for so long by calls that are over."""


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """One deployment's replicas.

    Attributes:
        num_cpus: What the scheduler sets aside for a replica. A small share, so that five fit on two cores;
            threads inside a replica are limited to one by the environment.
        min_replicas: Replicas that always run, 1 or more.
        max_replicas: Replicas under load.
        target_ongoing_requests: Requests under way per replica that the autoscaler aims at; the mean of half
            a minute counts. A healthy stage at 60 requests a second has a third of one to nine tenths. One
            that takes 50 ms has no more than two, however much is asked: its calls are given up after 70 ms,
            and the gateway sheds what it cannot do.
        max_ongoing_requests: Requests that a replica takes at once; the rest queue at the caller.
        max_queued_requests: Requests that a caller queues; the rest are refused at once. Unbounded by Ray's
            default, which at twice the capacity means seconds of waiting for everybody.
        upscale_delay_s, downscale_delay_s: How long load must stay high or low: without, scaling oscillates.
        health_check_period_s, health_check_timeout_s: When a replica that hangs is replaced.
        graceful_shutdown_timeout_s: What a replica that is stopped may take to finish its requests.
    """

    num_cpus: float = 0.1
    min_replicas: int = 1
    max_replicas: int = 2
    target_ongoing_requests: float = 1.2
    max_ongoing_requests: int = 32
    max_queued_requests: int = 64
    upscale_delay_s: float = 20.0
    downscale_delay_s: float = 300.0
    health_check_period_s: float = 2.0
    health_check_timeout_s: float = 10.0
    graceful_shutdown_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ValueError("min_replicas must be 1 or more and at most max_replicas")
        if self.max_queued_requests < 0 or self.max_ongoing_requests < 1:
            raise ValueError("queues are bounded: max_queued_requests >= 0, max_ongoing_requests >= 1")

    def as_options(self) -> dict[str, Any]:
        """Return what `serve.deployment` takes."""
        return {
            "ray_actor_options": {"num_cpus": self.num_cpus},
            "autoscaling_config": {
                "min_replicas": self.min_replicas,
                "max_replicas": self.max_replicas,
                "target_ongoing_requests": self.target_ongoing_requests,
                "upscale_delay_s": self.upscale_delay_s,
                "downscale_delay_s": self.downscale_delay_s,
            },
            "max_ongoing_requests": self.max_ongoing_requests,
            "max_queued_requests": self.max_queued_requests,
            "health_check_period_s": self.health_check_period_s,
            "health_check_timeout_s": self.health_check_timeout_s,
            "graceful_shutdown_timeout_s": self.graceful_shutdown_timeout_s,
        }


@dataclass(frozen=True, slots=True)
class ChallengerSettings:
    """The replicas of each stage's challengers: none while the traffic document names no challenger.

    Attributes:
        num_cpus: What the scheduler sets aside for a replica.
        memory_bytes: What a replica may allocate beyond what it has when it starts; then it fails, alone.
        max_replicas: Replicas under load.
        target_ongoing_requests: As of the champions; each gateway holds one call besides.
        gone_after_s: How long a replica stays that no gateway holds: requests that began under a document
            that named it are done by then.
    """

    num_cpus: float = 0.1
    memory_bytes: int = 4 * 1024**3
    max_replicas: int = 2
    target_ongoing_requests: float = 6.0
    gone_after_s: float = 30.0

    def __post_init__(self) -> None:
        if self.max_replicas < 1 or self.memory_bytes < 1:
            raise ValueError("challengers need max_replicas and memory_bytes of 1 or more")

    def as_options(self, champions: ReplicaSettings) -> dict[str, Any]:
        """Return what `serve.deployment` takes, with queues and checks as the champions have them."""
        options = champions.as_options()
        scaling = {
            **options["autoscaling_config"],
            "min_replicas": 0,
            "initial_replicas": 0,
            "max_replicas": self.max_replicas,
            "target_ongoing_requests": self.target_ongoing_requests,
            "metrics_interval_s": _CHALLENGER_METRICS_S,
            "look_back_period_s": _CHALLENGER_LOOK_BACK_S,
            "downscale_delay_s": self.gone_after_s,
            "downscale_to_zero_delay_s": self.gone_after_s,
        }
        return options | {
            "ray_actor_options": {"num_cpus": self.num_cpus},
            "autoscaling_config": scaling,
            # A challenger that dies again and again must not end the deployment: the next one is another.
            "max_constructor_retry_count": _FOR_EVER,
        }


def _default_replicas() -> dict[str, ReplicaSettings]:
    return {stage: ReplicaSettings() for stage in MODEL_STAGES} | {
        # A request whose body is still under way counts as ongoing here; how many are worked on at once the
        # gateway limits by itself (`GatewaySettings.limit`).
        GATEWAY: ReplicaSettings(
            max_replicas=2, target_ongoing_requests=8.0, max_ongoing_requests=2048, max_queued_requests=128
        ),
    }


@dataclass(frozen=True)
class GraphSettings:
    """The whole graph.

    Attributes:
        gateway: How the gateway answers.
        placement: Where the stages run.
        replicas: By stage name, and `GATEWAY`; those of the stages count where they are apart.
        challengers: The replicas of challengers, which are always processes of their own; None: none is ever
            tried.
        exposure_prices: Where a controller publishes exposure prices, the bonus that an item's score gets for
            its creator's language; re-ranking serves under the model's own prices while there are none, and
            always where None.
        item_log: Where items are put and removed (`streamrec.items`); the stages follow it.
            None: they keep to the items they were trained on.
    """

    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    placement: Placement = Placement.TOGETHER
    replicas: Mapping[str, ReplicaSettings] = field(default_factory=_default_replicas)
    exposure_prices: PriceFiles | None = None
    item_log: Path | None = None
    challengers: ChallengerSettings | None = field(default_factory=ChallengerSettings)

    def with_gateways(self, count: int) -> Self:
        """The same with so many gateway replicas, neither more nor fewer."""
        gateway = replace(self.replicas[GATEWAY], min_replicas=count, max_replicas=count)
        return replace(self, replicas={**self.replicas, GATEWAY: gateway})

    @property
    def pipeline(self) -> PipelineSettings:
        """Who passes through which stage; what an offline pipeline needs to agree."""
        return self.gateway.pipeline


def build_application(settings: GraphSettings, models: ModelSource, parts: GatewayParts) -> Application:
    """Bind the deployments into one application.

    Args:
        settings: The graph.
        models: Where the stages find their models.
        parts: Where the gateway finds features and the event log.
    """
    # Imported here: Ray reads its environment when it is imported, and `local_cluster` sets that first.
    from ray import serve

    from services.recommendations.serving.gateway_deployment import GatewayDeployment

    gateway = serve.deployment(
        serve.ingress()(GatewayDeployment), name=GATEWAY, **settings.replicas[GATEWAY].as_options()
    )
    application: Application = gateway.bind(
        settings.gateway,
        parts,
        models.traffic,
        _where_stages_run(settings, models),
        None if settings.challengers is None else _deployed(settings, models, settings.challengers),
    )
    return application


def _where_stages_run(settings: GraphSettings, models: ModelSource) -> OpensStages:
    if settings.placement is Placement.TOGETHER:
        from services.recommendations.serving.stages_in_process import StagesInProcess

        return StagesInProcess(models, settings.item_log, settings.exposure_prices)
    return _deployed(settings, models, None)


def _deployed(
    settings: GraphSettings, models: ModelSource, challengers: ChallengerSettings | None
) -> RayStages:
    """The four deployments of champions, or of challengers."""
    from ray import serve

    from services.recommendations.serving.ray_stages import RayStages
    from services.recommendations.serving.stage_deployments import (
        ColdStartDeployment,
        RankingDeployment,
        RerankingDeployment,
        RetrievalDeployment,
    )

    def bound(stage: str, deployment: Callable[..., object], *more: object) -> Application:
        champions = settings.replicas[stage]
        if challengers is None:
            served = serve.deployment(deployment, name=stage, **champions.as_options())
            return served.bind(models, settings.item_log, None, *more)
        name = CHALLENGER_PREFIX + stage
        served = serve.deployment(deployment, name=name, **challengers.as_options(champions))
        return served.bind(models, settings.item_log, challengers.memory_bytes, *more)

    return RayStages(
        bound(RETRIEVAL, RetrievalDeployment),
        bound(COLD_START, ColdStartDeployment),
        bound(RANKING, RankingDeployment),
        bound(RERANKING, RerankingDeployment, settings.exposure_prices),
    )
