"""The gateway as a Ray Serve deployment: composes stores, stages and the HTTP application in its replica."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Final

from fastapi import FastAPI
from ray import serve

from services.recommendations.contracts.effort import EFFORTS, Effort
from services.recommendations.gateway.activity_recovery import ActivityRecovery
from services.recommendations.gateway.app import create_app
from services.recommendations.gateway.asked_counts import AskedCounts, ShadowLog
from services.recommendations.gateway.edge.deadlines import DeadlineLimits
from services.recommendations.gateway.edge.front_door import stand_before_ray
from services.recommendations.gateway.event_housekeeping import EventHousekeeping
from services.recommendations.gateway.event_intake import EventIntake
from services.recommendations.gateway.faults import Faults
from services.recommendations.gateway.impressions import ImpressionSink
from services.recommendations.gateway.live_items import ItemRefresh, LiveItems, readmit_for_ever
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.gateway.readiness import Gateway, Startup, open_features
from services.recommendations.gateway.recommender import Recommender
from services.recommendations.gateway.schemas import Readiness
from services.recommendations.gateway.settings import GatewayParts, GatewaySettings
from services.recommendations.gateway.user_states import UserStates
from services.recommendations.pipeline.pipeline import RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls
from services.recommendations.pipeline.trials import Shadows, Trials
from services.recommendations.serving.ray_stages import ChallengerStages, RayStages
from services.recommendations.serving.traffic.followed_traffic import FollowedTraffic
from services.recommendations.serving.traffic.held_challengers import HeldChallengers
from services.recommendations.serving.versioned_stages import OpensStages, VersionedStages
from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.erasure.erased_persons import must_not_be_kept
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.features.store import FeatureStore, ItemCounts
from streamrec.rollout.tallies import FileTallies
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.serving.counting.served_counts import ServedCounts
from streamrec.serving.counting.tally_writer import TallyWriter
from streamrec.serving.load_control import LoadControl
from streamrec.serving.retry_budget import RetryBudget

_STATUS_TIMEOUT_S: Final = 30.0


class GatewayDeployment:
    """The ingress. Becomes ready when catalogue, features and all four models are there."""

    def __init__(
        self,
        settings: GatewaySettings,
        parts: GatewayParts,
        traffic: TrafficFiles,
        stages: OpensStages,
        challengers: RayStages | None = None,
    ) -> None:
        """Describe a gateway; what it needs is opened when its replica starts.

        Args:
            settings: How it answers.
            parts: Where it finds features and the event log.
            traffic: Where the traffic document lies.
            stages: Where the stages run.
            challengers: The deployments of challengers; None: none is tried.
        """
        self._settings = settings
        self._parts = parts
        self._traffic_files = traffic
        self._where_stages_run = stages
        self._where_challengers_run = challengers
        self._load = LoadControl(settings.deadline_ms, settings.limit, settings.brown_out)
        self._stages: VersionedStages | None = None
        self._features: tuple[FeatureStore, ItemCounts] | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application that Ray Serve runs in this replica."""
        settings = self._settings
        return create_app(
            Startup(self._compose, RecommendationMetrics(serve.get_replica_context().replica_tag)),
            load=self._load,
            maximum_events_in_flight=settings.maximum_events_in_flight,
            deadlines=DeadlineLimits(settings.deadline_ms, settings.maximum_deadline_ms),
            callers=settings.callers,
            stand_before=stand_before_ray,
        )

    async def _compose(self, metrics: RecommendationMetrics) -> Gateway:
        settings = self._settings
        stages, (store, counts) = await self._wait_for_models_and_features()
        items = await asyncio.to_thread(self._open_items, counts)
        set_aside = await asyncio.to_thread(self._parts.set_aside)
        writer = await asyncio.to_thread(self._parts.event_log)
        log = AsyncEventLog(writer)
        erased = await asyncio.to_thread(self._parts.erasures.follow)
        is_erased = partial(must_not_be_kept, erased)
        users = UserStates(store, settings.users, is_erased=is_erased)
        impressions = ImpressionSink(log, metrics, is_erased=is_erased)
        intake = EventIntake(
            log,
            users,
            lambda: items.current().ever_known,
            metrics,
            is_erased=is_erased,
            set_aside=set_aside,
        )

        def forget() -> None:
            users.forget()
            intake.forget_erased()

        housekeeping = EventHousekeeping(writer, erased, forget)
        housekeeping.start()
        recovery = ActivityRecovery(store, users, self._parts.acknowledged_since)
        recovery.start()
        how = CallSettings(timeout_ms=settings.stage_timeout_ms, budget_ms=settings.deadline_ms)
        retries, faults = RetryBudget(ratio=settings.retry_ratio), Faults(metrics)
        challengers = self._open_challengers()
        traffic = await asyncio.to_thread(
            FollowedTraffic,
            self._traffic_files,
            stages,
            metrics.set_versions_by_role,
            None if challengers is None else challengers.stages,
        )
        traffic.start()
        held = None if challengers is None else HeldChallengers(lambda: traffic.challenged, challengers.hold)
        if held is not None:
            held.start()
        served = ServedCounts(f"gateway-{uuid.uuid4().hex}")
        tally = TallyWriter(served, FileTallies(self._traffic_files.tallies))
        tally.start()
        asked = AskedCounts(served, metrics)
        shadows = Shadows(how, lambda: self._load.is_calm, ShadowLog(asked, log, is_erased).note)
        pipeline = RecommendationPipeline(
            traffic.stages,
            items.current,
            GuardedCalls(how, retries, faults.note),
            settings.pipeline,
            trials=Trials(how, retries, faults.note),
            shadows=shadows,
        )
        items.start()
        refresh = ItemRefresh(store, items, settings.items)
        refresh.start()
        metrics.watch_features(
            rows=store.materialized_at,
            items=lambda: refresh.materialized_at,
            newest_event=store.newest_event_at,
        )
        readmitting = asyncio.create_task(readmit_for_ever(items, intake.readmit), name="readmit")

        async def close() -> None:
            await recovery.stop()
            if held is not None:
                await held.stop()
            await shadows.close()
            await asyncio.to_thread(tally.stop)
            await asyncio.to_thread(traffic.stop)
            await asyncio.to_thread(stages.close)
            await housekeeping.stop()
            readmitting.cancel()
            await asyncio.gather(readmitting, return_exceptions=True)
            await asyncio.to_thread(refresh.stop)
            await asyncio.to_thread(items.stop)
            await log.close()
            await asyncio.to_thread(writer.close)
            await users.close()

        return Gateway(
            recommender=Recommender(
                users,
                pipeline,
                impressions,
                metrics,
                self._effort,
                asyncio.Lock() if stages.on_this_loop else None,
                asked,
            ),
            intake=intake,
            readiness=lambda: _readiness(traffic, items),
            close=close,
        )

    def _open_challengers(self) -> ChallengerStages | None:
        running = self._where_challengers_run
        return None if running is None else running.open_challengers()

    def _effort(self) -> Effort:
        return EFFORTS[self._load.brown_out.level]

    def _open_items(self, counts: ItemCounts) -> LiveItems:
        return LiveItems(ServedItems.from_counts(counts), self._parts.item_feed())

    async def _wait_for_models_and_features(
        self,
    ) -> tuple[VersionedStages, tuple[FeatureStore, ItemCounts]]:
        """Return both once they are there; one error says all that is missing."""
        stages, features = await asyncio.gather(
            self._open_models(), self._open_features(), return_exceptions=True
        )
        if not isinstance(stages, BaseException) and not isinstance(features, BaseException):
            return stages, features
        errors = [found for found in (stages, features) if isinstance(found, BaseException)]
        for error in errors:
            if not isinstance(error, NotReadyError):
                raise error
        raise NotReadyError("; ".join(map(str, errors)))

    async def _open_features(self) -> tuple[FeatureStore, ItemCounts]:
        """Open once: what is open stays open while something else is still missing."""
        if self._features is None:
            self._features = await asyncio.to_thread(open_features, self._parts.feature_store)
        return self._features

    async def _open_models(self) -> VersionedStages:
        """Return the stages where each has loaded its champion; an error names every one that has not."""
        if self._stages is None:
            self._stages = await self._where_stages_run.open()
        try:
            async with asyncio.timeout(_STATUS_TIMEOUT_S):
                statuses = await asyncio.gather(*(stage.status() for stage in self._stages.all()))
        except TimeoutError as error:
            raise DependencyError("starting: a stage did not say within 30 s whether it is ready") from error
        problems = [status.problem for status in statuses if status.version is None]
        if problems:
            raise NotReadyError("; ".join(problems))
        return self._stages


def _readiness(traffic: FollowedTraffic, items: LiveItems) -> Readiness:
    now = items.current()
    return Readiness(
        model_versions=traffic.versions,
        traffic_revision=traffic.revision,
        catalogue_items=len(now.known),
        item_revision=now.revision,
        item_log_problem=items.problem,
        problems=list(traffic.problems),
    )
