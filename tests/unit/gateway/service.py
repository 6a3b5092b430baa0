"""The application over stand-ins, and what its tests say to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx

from services.recommendations.contracts.effort import Effort
from services.recommendations.gateway.activity_writer import WriterSettings
from services.recommendations.gateway.app import create_app
from services.recommendations.gateway.edge.deadlines import DeadlineLimits
from services.recommendations.gateway.event_intake import EventIntake
from services.recommendations.gateway.faults import Faults
from services.recommendations.gateway.impressions import ImpressionSink
from services.recommendations.gateway.live_items import LiveItems
from services.recommendations.gateway.readiness import Gateway, Startup
from services.recommendations.gateway.recommender import Recommender
from services.recommendations.gateway.schemas import Readiness
from services.recommendations.gateway.user_states import UserStates, UserStateSettings
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.pipeline import PipelineSettings, RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import CallSettings, GuardedCalls
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.serving.concurrency_limit import LimitSettings
from streamrec.serving.load_control import LoadControl
from streamrec.serving.retry_budget import RetryBudget

TIMEOUTS_MS = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), 1000.0)
NOW = "2024-05-01T12:00:00Z"


class BreakableLog(MemoryEventLog):
    error: Exception | None = None

    def append(self, records, *, durable=True):
        if self.error is not None:
            raise self.error
        super().append(records, durable=durable)


class Service:
    """The application over stand-in stages and a log in memory."""

    def __init__(self, stages, store, *, not_ready=None, maximum_in_flight=64, drain_s=10.0, callers=None):
        self.drain_s = drain_s
        self.stages, self.store, self.not_ready = stages, store, not_ready
        self.log = BreakableLog()
        self.erased = set()
        self.item_log = MemoryItemLog()
        self.set_aside = ()
        self.effort = Effort.FULL
        self.turn = None
        self.problems = []
        self.startup = Startup(self.compose)
        self.load = LoadControl(5000.0, LimitSettings(*[maximum_in_flight] * 3))
        self.app = create_app(
            self.startup,
            load=self.load,
            maximum_events_in_flight=maximum_in_flight,
            deadlines=DeadlineLimits(5000.0, 5000.0),
            callers=callers,
        )

    async def compose(self, metrics):
        if self.not_ready is not None:
            raise self.not_ready
        table = self.store.item_table()
        log = AsyncEventLog(self.log)
        users = UserStates(self.store, UserStateSettings(writer=WriterSettings(drain_s=self.drain_s)))
        self.items = LiveItems(ServedItems.from_item_table(table), self.item_log)
        pipeline = RecommendationPipeline(
            self.stages.as_stages,
            self.items.current,
            GuardedCalls(CallSettings(timeout_ms=TIMEOUTS_MS), RetryBudget(), Faults(metrics).note),
            # Complete with the first interaction, so that every user takes one path.
            PipelineSettings(HandOver(kappa=0.05)),
        )

        async def close():
            await log.close()
            await users.close()

        return Gateway(
            Recommender(
                users,
                pipeline,
                ImpressionSink(log, metrics, is_erased=self.erased.__contains__),
                metrics,
                lambda: self.effort,
                self.turn,
            ),
            EventIntake(
                log,
                users,
                lambda: self.items.current().ever_known,
                metrics,
                is_erased=self.erased.__contains__,
                set_aside=self.set_aside,
            ),
            lambda: Readiness(
                model_versions={"ranking": 3},
                catalogue_items=len(self.items.current().known),
                item_revision=self.items.current().revision,
                item_log_problem=self.items.problem,
                problems=self.problems,
            ),
            close,
        )

    @asynccontextmanager
    async def client(self):
        async with self.app.router.lifespan_context(self.app):
            for _ in range(100):
                if self.startup.gateway is not None or self.startup.blocked:
                    break
                await asyncio.sleep(0.01)
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                yield client

    def call(self, *requests):
        """Send requests (method, path, keyword arguments) one after the other; return the last response."""

        async def run():
            async with self.client() as client:
                return [await client.request(method, path, **rest) for method, path, rest in requests]

        self.responses = asyncio.run(run())
        return self.responses[-1]

    def recommend(self, body=None, **rest):
        return self.call(("POST", "/v1/recommendations", rest or {"json": body}))

    def events(self, *events):
        return self.call(("POST", "/v1/events", {"json": {"events": list(events)}}))


def event(**changes):
    return {
        "event_id": "event-1",
        "user_id": "known",
        "item_id": "item-20",
        "kind": "click",
        "occurred_at": NOW,
    } | changes


def problem(response, status=422):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:streamrec:problem:")
    assert document["title"]
    assert document["detail"]
    return document
