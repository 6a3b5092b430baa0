"""The one path that a request takes, written once, without Ray and without HTTP.

    user -> (known: retrieval | new: cold start) -> ranking -> re-ranking -> slate

The gateway runs it over stages in other processes with deadlines, `services.recommendations.offline` over
models in its own; so what is served and what is evaluated cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from services.recommendations.gateway.stage_calls import (
    StageCalls,
    StageRequest,
    StageSkippedError,
    check_found,
    check_reordered,
)
from services.recommendations.gateway.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    StageReply,
    Stages,
)
from services.recommendations.types import CANDIDATE_COUNT, HISTORY_LIMIT, UNKNOWN, Candidates, UserState
from streamrec.contracts.events import Rung
from streamrec.serving.deadline import Deadline
from streamrec.serving.ladder import FallbackLadder


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Which stages a user passes through.

    Attributes:
        cold_start_until_interactions: A user with fewer known interactions is new: cold start finds the
            candidates.
        rank_from_interactions: A user with fewer known interactions is not ranked, because a ranker over the
            history has nothing to go by without one: it would replace the cold-start model's posterior draw
            by what it learned of nobody in particular, and end the exploration.
        candidate_count: Candidates that ranking is given.
    """

    cold_start_until_interactions: int = 5
    rank_from_interactions: int = 1
    candidate_count: int = CANDIDATE_COUNT


@dataclass(frozen=True, slots=True)
class PipelineAnswer:
    """A slate, and all that is known of how it came about.

    Attributes:
        item_ids: First position first, no duplicates; at most k, fewer only where the catalogue has no more.
        scores: Same length, finite: what the last stage that scored gave each item. Re-ranking may show an
            item above one with a higher score.
        propensities: Same length. Given the user, the request id and the versions every stage is
            deterministic, the posterior draw included, so each is 1.0; the chance over all draws is
            estimated by `OfflinePipeline.slate_propensities`, which makes other draws for the same user.
        rung: The step of the ladder. A new user whom the ranker does not apply to is served as intended:
            `RANKED`.
        cold_start: Whether candidates came from the cold-start model.
        skipped: Stages that should have taken part and did not, in order.
        model_versions: Version by stage, of the stages that took part.
        stages_ms: Time waited for each stage that was called, skipped ones included.
    """

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    propensities: tuple[float, ...]
    rung: Rung
    cold_start: bool
    skipped: tuple[str, ...]
    model_versions: Mapping[str, int]
    stages_ms: Mapping[str, float]

    @property
    def degraded(self) -> bool:
        """Whether the answer is less than it should have been."""
        return self.rung is not Rung.RANKED or bool(self.skipped)


@dataclass(slots=True)
class _Trace:
    """What is noted down while a request passes through."""

    versions: dict[str, int] = field(default_factory=dict)
    stages_ms: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


class RecommendationPipeline:
    """Takes a user through the stages. Holds no state of its own between requests."""

    def __init__(
        self,
        stages: Stages,
        ladder: FallbackLadder,
        known_items: Collection[str],
        calls: StageCalls,
        settings: PipelineSettings | None = None,
    ) -> None:
        """Compose a pipeline.

        Args:
            stages: The four stages.
            ladder: Answers without a model.
            known_items: Ids of the catalogue; something in which a look-up is cheap.
            calls: How stages are called.
            settings: Who passes through which stage.
        """
        self._stages = stages
        self._ladder = ladder
        self._known_items = known_items
        self._calls = calls
        self._settings = settings or PipelineSettings()

    def is_new(self, user: UserState) -> bool:
        """Whether cold start answers for this user."""
        return len(user.history) < self._settings.cold_start_until_interactions

    def is_ranked(self, user: UserState) -> bool:
        """Whether the ranker has anything to go by for this user."""
        return len(user.history) >= self._settings.rank_from_interactions

    async def recommend(
        self,
        user: UserState,
        k: int,
        request_id: str,
        deadline: Deadline,
        *,
        slate_length: int | None = None,
    ) -> PipelineAnswer:
        """Return a slate of ``k``; with `GuardedCalls` it always returns one, whatever the stages do.

        Args:
            user: Who asks. A history longer than `HISTORY_LIMIT` loses its oldest part.
            k: Length of the slate, 1 or more.
            request_id: Seeds the posterior draw of a new user.
            deadline: Started when the request arrived.
            slate_length: Items that the re-ranker is to choose as the slate; ``k`` where None. An evaluation
                asks for more items than are shown.
        """
        if len(user.history) > HISTORY_LIMIT:
            user = UserState(user.user_id, user.segment, user.history[-HISTORY_LIMIT:])
        seen = frozenset(user.history)
        trace = _Trace()
        cold_start = self.is_new(user)
        if self._has_seen_everything(seen):
            return self._popular(user, k, seen, trace)
        try:
            found = await self._find(
                user, max(k, self._settings.candidate_count), request_id, seen, trace, deadline
            )
        except StageSkippedError:
            return self._popular(user, k, seen, trace)
        rung = Rung.RANKED
        ordered = found
        if self.is_ranked(user):
            try:
                ordered = await self._rank(user, found, trace, deadline)
            except StageSkippedError:
                rung = Rung.RETRIEVAL_ORDER
        with suppress(StageSkippedError):  # noted in the trace; the order of the stage before stands
            ordered = await self._rerank(user, ordered, slate_length or k, trace, deadline)
        return PipelineAnswer(
            item_ids=ordered.item_ids[:k],
            scores=_as_floats(ordered.scores[:k]),
            propensities=(1.0,) * min(k, len(ordered)),
            rung=rung,
            cold_start=cold_start,
            skipped=tuple(trace.skipped),
            model_versions=trace.versions,
            stages_ms=trace.stages_ms,
        )

    def _has_seen_everything(self, seen: frozenset[str]) -> bool:
        known = self._known_items
        return len(seen) >= len(known) and all(item_id in seen for item_id in known)

    async def _find(
        self,
        user: UserState,
        count: int,
        request_id: str,
        seen: frozenset[str],
        trace: _Trace,
        deadline: Deadline,
    ) -> Candidates:
        check = partial(check_found, count=count, known=self._known_items, seen=seen)
        if self.is_new(user):
            call = partial(self._stages.cold_start.retrieve, user, count, request_id)
            return await self._call(StageRequest(COLD_START, call, check), trace, deadline)
        call = partial(self._stages.retrieval.retrieve, user, count)
        return await self._call(StageRequest(RETRIEVAL, call, check), trace, deadline)

    async def _rank(
        self, user: UserState, found: Candidates, trace: _Trace, deadline: Deadline
    ) -> Candidates:
        call = partial(self._stages.ranking.rank, user, found)
        check = partial(check_reordered, before=found, descending=True)
        return await self._call(StageRequest(RANKING, call, check), trace, deadline)

    async def _rerank(
        self, user: UserState, ordered: Candidates, slate_length: int, trace: _Trace, deadline: Deadline
    ) -> Candidates:
        async def call() -> StageReply:
            spent_ms = deadline.elapsed_ms()
            return await self._stages.reranking.rerank(ordered, user, spent_ms, slate_length)

        check = partial(check_reordered, before=ordered, descending=False)
        return await self._call(StageRequest(RERANKING, call, check), trace, deadline)

    async def _call(self, request: StageRequest, trace: _Trace, deadline: Deadline) -> Candidates:
        started_ms = deadline.elapsed_ms()
        try:
            reply = await self._calls(request, deadline)
        except StageSkippedError:
            trace.skipped.append(request.stage)
            raise
        finally:
            trace.stages_ms[request.stage] = deadline.elapsed_ms() - started_ms
        trace.versions[request.stage] = reply.version
        return reply.candidates

    def _popular(self, user: UserState, k: int, seen: frozenset[str], trace: _Trace) -> PipelineAnswer:
        language = user.segment.language if user.segment.language != UNKNOWN else None
        fallback = self._ladder.answer(language=language, seen=seen, count=k)
        if not fallback.item_ids:
            # The user has seen the whole catalogue: something seen is better than nothing.
            fallback = self._ladder.answer(language=None, seen=frozenset(), count=k)
        return PipelineAnswer(
            item_ids=fallback.item_ids,
            scores=fallback.scores,
            propensities=(1.0,) * len(fallback.item_ids),
            rung=fallback.rung,
            cold_start=False,
            skipped=tuple(trace.skipped),
            model_versions=trace.versions,
            stages_ms=trace.stages_ms,
        )


def _as_floats(scores: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(score) for score in scores)
