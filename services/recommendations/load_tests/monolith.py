"""The thing that somebody would write instead: the same models in one FastAPI process under uvicorn.

It does what an answer needs and no more. The same: models, pipeline (so that the slates are equal), online
rows and the client that reads them, the order of work (models run on the event loop). As there is one
process, rows are cached as long as the user does nothing, and the store is not asked again. Left out: the log
of impressions, deadlines, retries, circuit breakers, admission, metrics, and following of traffic, items,
prices and erasures. Whose row cannot be read is served like a new user, degraded. Events are appended to a
file without waiting for the disk, and added to the user's row, so that the next answer knows them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.responses import Response
from uuid6 import uuid7

from services.recommendations.contracts.candidates import Segment
from services.recommendations.contracts.stages import FEATURES, SLOTS
from services.recommendations.gateway.user_states import UserStateSettings, as_state
from services.recommendations.pipeline.local_models import load_models
from services.recommendations.pipeline.pipeline import RecommendationPipeline
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.stage_calls import PlainCalls
from streamrec.command_line.composition import champion_version, open_feature_store, open_registry
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import TemporaryError
from streamrec.contracts.events import InteractionKind
from streamrec.features.store import FeatureStore, UserFeatures
from streamrec.features.user_actions import UserAction
from streamrec.serving.caches import TtlCache
from streamrec.serving.deadline import Deadline

_DEADLINE_MS: Final = 100.0
_ABSENT: Final = object()


class Ask(BaseModel):
    """A recommendation request."""

    user_id: str = Field(max_length=128)
    k: int = Field(default=10, ge=1, le=500)
    context: dict[str, str] | None = None


class Event(BaseModel):
    """What a user did."""

    event_id: str
    user_id: str
    item_id: str
    kind: InteractionKind
    occurred_at: datetime
    request_id: str | None = None


class Events(BaseModel):
    """Events of one request."""

    events: list[Event]


@dataclass
class Monolith:
    """Answers requests. For one event loop.

    Attributes:
        pipeline: Over models in this process.
        store: Online rows; blocking.
        event_file: Where events are appended.
    """

    pipeline: RecommendationPipeline
    store: FeatureStore
    event_file: Path

    def __post_init__(self) -> None:
        settings = UserStateSettings()
        self._reads = self.store.reads(settings.reads)
        self._cache: TtlCache[str, UserFeatures | None] = TtlCache(
            maximum_entries=settings.kept_rows, lifetime_s=settings.kept_for_s
        )

    async def recommend(self, ask: Ask) -> dict[str, Any]:
        """The answer as plain data."""
        deadline = Deadline.after_ms(_DEADLINE_MS)
        features, is_read = None, True
        try:
            features = await self._features(ask.user_id)
        except TemporaryError:  # served like a new user
            is_read = False
        user = as_state(ask.user_id, features, Segment(**(ask.context or {})))
        features_ms = deadline.elapsed_ms()
        request_id = str(uuid7())
        answer = await self.pipeline.recommend(user, ask.k, request_id, deadline)
        stages_ms = {FEATURES: features_ms, **answer.stages_ms}
        return {
            "request_id": request_id,
            "user_id": ask.user_id,
            "items": [
                {"item_id": item_id, "position": position, "score": score}
                for position, (item_id, score) in enumerate(zip(answer.item_ids, answer.scores, strict=True))
            ],
            "rung": answer.rung.value,
            "degraded": answer.degraded or not is_read,
            "cold_start": answer.cold_start,
            "model_versions": dict(answer.model_versions),
            "latency_ms": round(deadline.elapsed_ms(), 3),
            "stages_ms": {stage: round(spent_ms, 3) for stage, spent_ms in stages_ms.items()},
        }

    async def take(self, events: Sequence[Event]) -> None:
        """Append events to the file, and add them to the rows of their users."""
        lines = "".join(f"{event.model_dump_json()}\n" for event in events)
        actions: dict[str, list[UserAction]] = {}
        for event in events:
            action = UserAction(event.item_id, event.kind, event.occurred_at)
            actions.setdefault(event.user_id, []).append(action)
        await asyncio.to_thread(self._write, lines, actions)
        for user_id in actions:
            self._cache.invalidate(user_id)

    async def _features(self, user_id: str) -> UserFeatures | None:
        cached = self._cache.get(user_id, _ABSENT)
        if cached is None or isinstance(cached, UserFeatures):
            return cached
        with self._cache.fill(user_id) as store:
            features = (await self._reads.row(user_id)).features
            store(features)
        return features

    def _write(self, lines: str, actions: Mapping[str, Sequence[UserAction]]) -> None:
        with self.event_file.open("a", encoding="utf-8") as file:
            file.write(lines)
        self.store.add_actions(actions)


def serve_monolith(workspace: Workspace, port: int) -> None:
    """Serve the champions of a workspace until SIGINT or SIGTERM."""
    import uvicorn

    logging.basicConfig(level=logging.WARNING)
    registry = open_registry(workspace)
    versions = {stage: champion_version(workspace, registry, slot) for stage, slot in SLOTS.items()}
    models = load_models(registry, versions)
    stages = models.as_stages()
    store = open_feature_store(workspace)
    items = ServedItems.from_counts(store.item_counts())
    pipeline = RecommendationPipeline(lambda _user_id: stages, lambda: items, PlainCalls())
    app = create_app(
        Monolith(pipeline, store, workspace.root / "events.jsonl"), models.versions, len(items.known)
    )
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def create_app(monolith: Monolith, versions: Mapping[str, int], item_count: int) -> FastAPI:
    """The routes."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/recommendations")
    async def recommendations(ask: Ask) -> Response:
        return _json(await monolith.recommend(ask))

    @app.post("/v1/events")
    async def events(batch: Events) -> Response:
        await monolith.take(batch.events)
        return _json({"accepted": len(batch.events)})

    @app.get("/readyz")
    async def readyz() -> Response:
        return _json({"model_versions": dict(versions), "catalogue_items": item_count})

    return app


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document, separators=(",", ":")).encode(), media_type="application/json")
