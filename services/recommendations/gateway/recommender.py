"""One recommendation request from arrival to answer: user state, pipeline, impression, metrics."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from uuid6 import uuid7

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.pages import read_page
from services.recommendations.contracts.stages import FEATURES
from services.recommendations.gateway.asked_counts import AskedCounts
from services.recommendations.gateway.faults import Faults
from services.recommendations.gateway.impressions import impression_of
from services.recommendations.gateway.metrics import RecommendationMetrics
from services.recommendations.gateway.schemas import RecommendationRequest
from services.recommendations.gateway.user_states import UserStates
from services.recommendations.pipeline.pipeline import PipelineAnswer, RecommendationPipeline
from streamrec.contracts.events import Impression
from streamrec.serving.deadline import Deadline
from streamrec.serving.turns import Turn

_FEATURE_STORE: Final = "feature_store"
_PIPELINE: Final = "pipeline"
_IMPRESSION_LOG: Final = "impression_log"

_FEATURES_SHARE: Final = 0.4
"""Part of a request's time that may be waited for the user's features: the stages need the rest."""


_LADDER_MS: Final = 5.0
"""Left over for popular items where the turn of a request does not come in time."""


class ImpressionLog(Protocol):
    """Takes impressions without making anybody wait."""

    def offer(self, impression: Impression) -> bool:
        """Queue an impression; False if it was dropped because the queue is full."""
        ...


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """An answer with the names it goes by.

    Attributes:
        request_id: Made here, UUIDv7: nobody can choose it.
        client_request_id: What the caller calls the request; None where it said nothing.
        user_id: Who asked.
        page: Which page of the list it is.
        next_page_token: Asks for the page after it; None where there is none.
        answer: What the pipeline returned, the wait for the user's features included.
        latency_ms: From arrival, waiting unseen included, to here.
    """

    request_id: str
    client_request_id: str | None
    user_id: str
    page: int
    next_page_token: str | None
    answer: PipelineAnswer
    latency_ms: float


class Recommender:
    """Answers requests. For one event loop."""

    def __init__(
        self,
        users: UserStates,
        pipeline: RecommendationPipeline,
        impressions: ImpressionLog,
        metrics: RecommendationMetrics,
        effort: Callable[[], Effort] = lambda: Effort.FULL,
        turn: asyncio.Lock | None = None,
        asked: AskedCounts | None = None,
    ) -> None:
        """Compose one.

        Args:
            users: What is known of users.
            pipeline: Answers.
            impressions: Where answers are written down.
            metrics: Where they are counted.
            effort: How much is to be done for a request that comes now.
            turn: Held by a request while the pipeline works on it, where models compute on this event loop:
                one after the other is sooner done than all by turns. None: nobody waits for anybody.
            asked: Where the versions that were asked are counted; into the metrics alone where None.
        """
        self._users = users
        self._pipeline = pipeline
        self._impressions = impressions
        self._metrics = metrics
        self._effort = effort
        self._turn = turn
        self._asked = asked or AskedCounts(None, metrics)
        self._faults = Faults(metrics)

    async def recommend(self, request: RecommendationRequest, deadline: Deadline) -> ServedAnswer:
        """Return a slate within the deadline, whatever else is down and whatever it raises.

        Args:
            request: What is asked for.
            deadline: Started when the request arrived.

        Raises:
            InvalidInputError: ``page_token`` is not one that an answer to this user had.
        """
        page = read_page(request.page_token, request.user_id)
        request_id = str(uuid7())
        context = request.context.as_segment() if request.context is not None else Segment()
        skipped: tuple[str, ...] = ()
        asked_at_ms = deadline.elapsed_ms()
        try:
            read = await self._users.get(
                request.user_id, context, within_ms=deadline.share_ms(_FEATURES_SHARE * deadline.budget_ms)
            )
        except TimeoutError:
            # The caller's time is short, which is no fault of the store.
            user = UserState(request.user_id, context)
            skipped = (FEATURES,)
        except Exception as error:  # noqa: BLE001 - no exception of a store may cost a user the answer
            # Without the history the user is served like a new one; the answer says so.
            self._faults.note(_FEATURE_STORE, error, "users are served like new ones")
            user = UserState(request.user_id, context)
            skipped = (FEATURES,)
        else:
            user = read.state
            if read.problem is not None:
                skipped = (FEATURES,)
                if not isinstance(read.problem, TimeoutError):
                    self._faults.note(_FEATURE_STORE, read.problem, "users are served by rows of before")
        if page.shown:
            user = replace(user, shown=page.shown)
        features_ms = deadline.elapsed_ms() - asked_at_ms
        try:
            answer = await self._in_turn(user, request.k, request_id, deadline)
        except Exception as error:  # noqa: BLE001 - popular items are there whatever is wrong with the stages
            self._faults.note(_PIPELINE, error, "popular items are served")
            answer = self._pipeline.popular(user, request.k)
        answer = replace(
            answer,
            skipped=(*skipped, *answer.skipped),
            stages_ms={FEATURES: features_ms, **answer.stages_ms},
        )
        latency_ms = deadline.elapsed_ms()
        self._count(answer, latency_ms, deadline)
        served = ServedAnswer(
            request_id,
            request.request_id,
            request.user_id,
            page.number,
            page.next_token(request.user_id, answer.item_ids, request.k),
            answer,
            latency_ms,
        )
        try:
            self._impressions.offer(
                impression_of(
                    request_id,
                    user,
                    answer,
                    datetime.now(UTC),
                    latency_ms,
                    client_request_id=served.client_request_id,
                    page=page.number,
                )
            )
        except Exception as error:  # noqa: BLE001 - the slate is there, and is worth more than its record
            self._metrics.count_dropped_impression()
            self._faults.note(_IMPRESSION_LOG, error, "impressions are not logged")
        return served

    async def _in_turn(self, user: UserState, k: int, request_id: str, deadline: Deadline) -> PipelineAnswer:
        turn = Turn(self._turn)
        try:
            await turn.take(deadline.share_ms(math.inf, reserve_ms=_LADDER_MS) / 1000.0)
        except TimeoutError:
            # Popular items in time are better than ranked ones too late.
            return self._pipeline.popular(user, k)
        try:
            return await self._pipeline.recommend(
                user, k, request_id, deadline, effort=self._effort(), turn=turn
            )
        finally:
            turn.leave()

    def _count(self, answer: PipelineAnswer, latency_ms: float, deadline: Deadline) -> None:
        self._metrics.observe_features(answer.stages_ms[FEATURES], failed=FEATURES in answer.skipped)
        self._asked.answer(answer)
        for stage, revision in answer.stage_item_revisions.items():
            self._metrics.set_item_revision(stage, revision)
        self._metrics.observe_request(
            status=200,
            rung=answer.rung,
            latency_ms=latency_ms,
            cold_start=answer.cold_start,
            degraded=answer.degraded,
            empty_reason=answer.empty_reason,
            effort=answer.effort,
            late=latency_ms > deadline.budget_ms,
        )
