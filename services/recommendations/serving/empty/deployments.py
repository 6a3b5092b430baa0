"""Stages and gateways that answer at once, with as much as the real ones send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import numpy as np
from fastapi import FastAPI, Request
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, Segment, UserState
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import MODEL_NAMES, MODEL_STAGES, StageReply, StageStatus
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.serving import stage_messages
from services.recommendations.serving.ray_stages import RayStages
from services.recommendations.serving.versioned_stages import VersionedStages

_VERSION: Final = 1
_IDS: Final = tuple(f"item-{number:07d}" for number in range(CANDIDATE_COUNT))
_SCORES: Final = np.linspace(1.0, 0.0, CANDIDATE_COUNT, dtype=np.float32)
_FOUND: Final = Candidates(_IDS, _SCORES)

Answer = Callable[[dict[str, Any]], Awaitable[tuple[str, ...]]]
"""From the body of a request to the items of its slate."""


class EmptyStage:
    """Answers a stage's messages without a model: unpacks what is asked and packs as large an answer."""

    def __init__(self, stage: str, *, finds: bool, scores: bool) -> None:
        """Say which stage.

        Args:
            stage: Its name.
            finds: Whether it is asked for candidates; otherwise it is asked for an order of them.
            scores: Whether such a question is one for scores.
        """
        self._stage = stage
        self._finds = finds
        self._scores = scores

    async def answer(self, message: bytes, _remaining_ms: float) -> bytes:
        """Unpack, pack."""
        if self._finds:
            stage_messages.unpack_find(message)
            return stage_messages.pack_found(StageReply(_FOUND, _VERSION))
        if self._scores:
            _, candidates, _ = stage_messages.unpack_rank(message)
        else:
            candidates, *_ = stage_messages.unpack_rerank(message)
        return stage_messages.pack_reordered(StageReply(candidates, _VERSION), candidates)

    async def status(self) -> bytes:
        """There is no model to be loaded."""
        return stage_messages.pack_status(StageStatus(MODEL_NAMES[self._stage], _VERSION, ""))


class EmptyGateway:
    """Calls the stages that a request of the real gateway passes through, with a history as long."""

    def __init__(self, history_lengths: tuple[int, ...], stages: RayStages) -> None:
        """Describe it.

        Args:
            history_lengths: Of users with a history, by the number at the end of their id, again and again.
            stages: Their handles.
        """
        self._lengths = history_lengths
        self._where_stages_run = stages
        self._stages: VersionedStages | None = None
        self._weight_of = HandOver().weight

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application that Ray Serve runs in this replica."""
        return _application(self._recommend)

    async def _recommend(self, asked: dict[str, Any]) -> tuple[str, ...]:
        if self._stages is None:
            self._stages = await self._where_stages_run.open()
        stages, user = self._stages, self._user(str(asked["user_id"]))
        weight = self._weight_of(len(user.history))
        if weight == 0.0:
            reply = await stages.retrieval.retrieve(user, CANDIDATE_COUNT, _VERSION)
        elif weight == 1.0:
            reply = await stages.cold_start.retrieve(user, CANDIDATE_COUNT, "", _VERSION)
        else:
            reply, _ = await asyncio.gather(
                stages.cold_start.retrieve(user, CANDIDATE_COUNT, "", _VERSION),
                stages.retrieval.retrieve(user, CANDIDATE_COUNT, _VERSION),
            )
        if weight < 1.0:
            reply = await stages.ranking.rank(user, reply.candidates, _VERSION)
        slate_length = int(asked["k"])
        reply = await stages.reranking.rerank(reply.candidates, user, 0.0, slate_length, _VERSION)
        return reply.candidates.item_ids[:slate_length]

    def _user(self, user_id: str) -> UserState:
        kind, _, number = user_id.rpartition("-")
        length = self._lengths[int(number) % len(self._lengths)] if kind == "user" else 0
        return UserState(user_id, Segment("DE", "de", "25-34", "organic"), _IDS[:length])


class EmptyHopGateway:
    """Makes one call of an empty deployment."""

    def __init__(self, hop: DeploymentHandle) -> None:
        self._hop = hop

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application that Ray Serve runs in this replica."""
        return _application(self._recommend)

    async def _recommend(self, _asked: dict[str, Any]) -> tuple[str, ...]:
        await self._hop.answer.remote(b"")
        return ()


class EmptyHop:
    """Does nothing."""

    async def answer(self, message: bytes) -> bytes:
        """Send back what came."""
        return message


def _application(recommend: Answer) -> FastAPI:
    """The routes that a load generator asks; every answer looks like a real one."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/recommendations")
    async def recommendations(request: Request) -> Response:
        item_ids = await recommend(await request.json())
        items = [
            {"item_id": item_id, "position": position, "score": 0.123456789}
            for position, item_id in enumerate(item_ids)
        ]
        return _json(
            {
                "request_id": "00000000-0000-7000-8000-000000000000",
                "items": items,
                "rung": Rung.RANKED.value,
                "degraded": False,
                "stages_ms": {},
            }
        )

    @app.post("/v1/events")
    async def events(request: Request) -> Response:
        await request.body()
        return _json({})

    @app.get("/readyz")
    async def readyz() -> Response:
        return _json({"model_versions": dict.fromkeys(MODEL_STAGES, _VERSION), "catalogue_items": 0})

    return app


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document, separators=(",", ":")).encode(), media_type="application/json")
