"""The one path that a request takes, written once, without Ray and without HTTP.

    user -> cold start and retrieval, at once -> ranking -> pooled with cold start -> skipped items lowered
    -> re-ranking -> slate

The weight of cold start falls with every interaction of the user (`hand_over`). Without any it is 1, and the
ranker, which needs a history, is not called; after some dozens it is 0, and cold start is not called.

The gateway runs it over stages in other processes with deadlines, `pipeline.offline` over models in its own;
so what is served and what is evaluated cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import CANDIDATE_COUNT, Candidates, UserState
from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.empty_slates import EmptyReason
from services.recommendations.contracts.rungs import Rung
from services.recommendations.contracts.stages import (
    COLD_START,
    RANKING,
    RERANKING,
    RETRIEVAL,
    STAGES,
    TIMED_FOR_MS,
    StageReply,
    Stages,
)
from services.recommendations.pipeline.hand_over import HandOver, merge, pooled_scores
from services.recommendations.pipeline.local_stages import draw_seed
from services.recommendations.pipeline.served_items import ServedItems
from services.recommendations.pipeline.skips import SkipDiscount
from services.recommendations.pipeline.stage_asking import StageAsking
from services.recommendations.pipeline.stage_calls import (
    StageCalls,
    StageSkippedError,
    check_found,
    check_reordered,
)
from services.recommendations.pipeline.trace import AskedVersion, StageCall, Trace
from services.recommendations.pipeline.trials import Shadows, Trials
from streamrec.contracts.conventions import HISTORY_LIMIT, UNKNOWN
from streamrec.contracts.slots import ServingRole
from streamrec.serving.deadline import Deadline
from streamrec.serving.turns import Turn


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Which stages a user passes through.

    Attributes:
        hand_over: Weight of cold start by the number of known interactions.
        candidate_count: Candidates that ranking is given.
        fewer_candidates: The same where less is done for a request (`Effort`).
        skips: How far items that the user skipped are lowered, in whatever order the stages left them.
    """

    hand_over: HandOver = field(default_factory=HandOver)
    candidate_count: int = CANDIDATE_COUNT
    fewer_candidates: int = 200
    skips: SkipDiscount = field(default_factory=SkipDiscount)


@dataclass(frozen=True, slots=True)
class PipelineAnswer:
    """A slate, and all that is known of how it came about.

    Attributes:
        item_ids: First position first, no duplicates; at most k, fewer only where the catalogue has no more.
        scores: Same length, finite: what the last stage that scored gave each item. Re-ranking may show an
            item above one with a higher score.
        rung: The step of the ladder. A new user whom the ranker does not apply to is served as intended:
            `RANKED`.
        cold_start: Whether cold start had at least half of the weight.
        skipped: Stages that should have taken part and did not, in order.
        failed: Those of ``skipped`` that failed (`StageSkippedError.failed`); the others were late.
        model_versions: Version by stage, of the stages that took part.
        stages_ms: Time waited for each stage that was called, skipped ones included.
        traffic_revision: Of the traffic document that the versions come from; None where there is none.
        price_revision: Of the published exposure prices that re-ranking served under; None where none took
            part.
        seed: Of the posterior draw, 16 hexadecimal digits; None where cold start had no part.
        candidates: What re-ranking chose from, with the scores that it was given; None where the slate came
            from the fallback ladder.
        item_revision: Of the item log, as the catalogue was that the request was answered from.
        stage_item_revisions: The same by stage, of the stages that took part: each follows the log by itself.
        in_full: Whether no stage cut its answer off to be in time.
        empty_reason: Why there is no item; None where there is one.
        in_vain_ms: Time waited for stages that were asked and did not answer in time.
        effort: How much was done. What is left out on purpose is not among ``skipped``.
        roles: By stage that took part, in which role its version answered.
        asked: Every version that was asked, challengers that gave no answer included, and what came of it.
    """

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    rung: Rung
    cold_start: bool
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    model_versions: Mapping[str, int]
    stages_ms: Mapping[str, float]
    traffic_revision: int | None = None
    price_revision: int | None = None
    seed: str | None = None
    candidates: Candidates | None = field(default=None, compare=False)  # arrays have no truth value
    item_revision: int = 0
    stage_item_revisions: Mapping[str, int] = field(default_factory=dict)
    in_full: bool = True
    empty_reason: EmptyReason | None = None
    in_vain_ms: float = 0.0
    effort: Effort = Effort.FULL
    roles: Mapping[str, ServingRole] = field(default_factory=dict)
    asked: tuple[AskedVersion, ...] = ()

    @property
    def degraded(self) -> bool:
        """Whether the answer is less than it should have been."""
        return self.rung is not Rung.RANKED or bool(self.skipped) or self.effort is not Effort.FULL


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request asks for; see `RecommendationPipeline.recommend`."""

    k: int
    request_id: str
    slate_length: int
    effort: Effort


class RecommendationPipeline:
    """Takes a user through the stages. Holds no state of its own between requests."""

    def __init__(
        self,
        stages: Callable[[str], Stages],
        items: Callable[[], ServedItems],
        calls: StageCalls,
        settings: PipelineSettings | None = None,
        *,
        trials: Trials | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        """Compose a pipeline.

        Args:
            stages: Returns the four stages as the next request of a user is to see them. It is asked once a
                request, so that no request is answered by versions that do not belong together.
            items: The catalogue as it is now; asked once a request.
            calls: How stages are called.
            settings: Who passes through which stage.
            trials: How challengers are called; None: they are not.
            shadows: How shadows are asked; None: they are not.
        """
        self._stages = stages
        self._items = items
        self._calls = calls
        self._settings = settings or PipelineSettings()
        self._asking, self._shadows = StageAsking(calls, trials), shadows

    def cold_start_weight(self, user: UserState) -> float:
        """The weight of cold start for this user, 0 to 1, by the distinct known items consumed."""
        return self._cold_start_weight(user, self._items())

    def _cold_start_weight(self, user: UserState, items: ServedItems) -> float:
        # What was done with an item still tells something after it was removed.
        ever_known = items.ever_known
        known = sum(map(ever_known.__contains__, frozenset(user.history)))
        return self._settings.hand_over.weight(known)

    async def recommend(
        self,
        user: UserState,
        k: int,
        request_id: str,
        deadline: Deadline,
        *,
        slate_length: int | None = None,
        effort: Effort = Effort.FULL,
        turn: Turn | None = None,
    ) -> PipelineAnswer:
        """Return a slate of ``k``; with `GuardedCalls` it always returns one, whatever the stages do.

        Args:
            user: Who asks. A history longer than `HISTORY_LIMIT` loses its oldest part.
            k: Length of the slate, 1 or more.
            request_id: Seeds the posterior draw of a new user.
            deadline: Started when the request arrived.
            slate_length: Items that the re-ranker is to choose as the slate; ``k`` where None. An evaluation
                asks for more items than are shown.
            effort: How much is to be done.
            turn: What the request holds while it computes, where others wait for it.
        """
        if len(user.history) > HISTORY_LIMIT:
            user = replace(user, history=user.history[-HISTORY_LIMIT:])
        items = self._items()
        trace = Trace(self._stages(user.user_id), turn or Turn())
        wanted = Wanted(k, request_id, slate_length or k, effort)
        answer = await self._through(user, wanted, items, trace, deadline)
        while trace.begins_again:
            # At most once for each bundle: what was given up is asked no more.
            trace = trace.again()
            answer = await self._through(user, wanted, items, trace, deadline)
        if trace.shadows and self._shadows is not None:
            self._shadows.begin(trace.shadows, request_id, user.user_id, deadline)
        return answer

    async def _through(
        self, user: UserState, wanted: Wanted, items: ServedItems, trace: Trace, deadline: Deadline
    ) -> PipelineAnswer:
        """One passage; of no use where the trace says that the request begins again."""
        seen = frozenset(user.not_shown)
        k, request_id, effort = wanted.k, wanted.request_id, wanted.effort
        if _has_seen_everything(seen, items):
            return self._popular(user, k, seen, items, trace)
        weight = self._cold_start_weight(user, items)
        count = max(k, self._candidate_count(effort))
        cold, found = await self._find(user, count, request_id, weight, items, trace, deadline)
        if trace.begins_again or (cold is None and found is None):
            return self._popular(user, k, seen, items, trace)
        # Where cold start failed, only the candidates of retrieval are left.
        weight = weight if cold is not None else 0.0
        rung = Rung.RANKED
        ordered = _merged(cold, found, weight, count)
        if weight < 1.0:
            try:
                ranked = await self._rank(user, ordered, trace, deadline)
                ordered = ranked if cold is None else pooled_scores(ranked.item_ids, cold, ranked, weight)
            except StageSkippedError:
                rung = Rung.RETRIEVAL_ORDER
        candidates = ordered = self._settings.skips.lowered(ordered, user)
        if effort is not Effort.NO_RERANKING and not trace.begins_again:
            with suppress(StageSkippedError):  # noted in the trace; the order of the stage before stands
                ordered = await self._rerank(user, ordered, wanted.slate_length, trace, deadline)
        return PipelineAnswer(
            item_ids=ordered.item_ids[:k],
            scores=_as_floats(ordered.scores[:k]),
            rung=rung,
            cold_start=weight >= 0.5,
            skipped=tuple(sorted(trace.skipped, key=STAGES.index)),
            failed=tuple(sorted(trace.failed, key=STAGES.index)),
            model_versions=trace.versions,
            stages_ms=trace.stages_ms,
            price_revision=trace.price_revision,
            traffic_revision=trace.stages.traffic_revision,
            seed=_draw_seed(user, request_id, trace),
            candidates=candidates,
            item_revision=items.revision,
            stage_item_revisions=trace.item_revisions,
            in_full=trace.in_full,
            in_vain_ms=trace.in_vain_ms,
            effort=effort,
            roles=trace.roles,
            asked=tuple(trace.asked),
        )

    def _candidate_count(self, effort: Effort) -> int:
        count = self._settings.candidate_count
        return count if effort is Effort.FULL else min(count, self._settings.fewer_candidates)

    def popular(self, user: UserState, k: int) -> PipelineAnswer:
        """Return what is popular, without asking a stage: the answer when nothing else has worked."""
        trace = Trace(self._stages(user.user_id), Turn(), skipped=[RETRIEVAL])
        return self._popular(user, k, frozenset(user.not_shown), self._items(), trace)

    def _popular(
        self, user: UserState, k: int, seen: frozenset[str], items: ServedItems, trace: Trace
    ) -> PipelineAnswer:
        language = user.segment.language if user.segment.language != UNKNOWN else None
        # As many more as can be lowered out of the first k.
        count = k + len(frozenset(user.skipped))
        fallback = items.ladder.answer(language=language, seen=seen, count=count)
        if not fallback.item_ids:
            # The whole catalogue is seen: something seen is better than nothing, but neither a disliked item
            # nor one of the pages before.
            fallback = items.ladder.answer(language=None, seen=frozenset(user.refused), count=count)
        order = self._settings.skips.order(fallback.item_ids, user)
        item_ids = fallback.item_ids if order is None else tuple(fallback.item_ids[place] for place in order)
        return PipelineAnswer(
            item_ids=item_ids[:k],
            scores=fallback.scores[:k],  # of the places, not of the items
            rung=fallback.rung,
            cold_start=False,
            skipped=tuple(sorted(trace.skipped, key=STAGES.index)),
            failed=tuple(sorted(trace.failed, key=STAGES.index)),
            model_versions=trace.versions,
            stages_ms=trace.stages_ms,
            in_vain_ms=trace.in_vain_ms,
            traffic_revision=trace.stages.traffic_revision,
            item_revision=items.revision,
            stage_item_revisions=trace.item_revisions,
            empty_reason=None if item_ids else _why_empty(items),
            roles=trace.roles,
            asked=tuple(trace.asked),
        )

    async def _find(
        self,
        user: UserState,
        count: int,
        request_id: str,
        weight: float,
        items: ServedItems,
        trace: Trace,
        deadline: Deadline,
    ) -> tuple[Candidates | None, Candidates | None]:
        """What cold start and retrieval found; None for one that has no weight or is skipped."""
        check = partial(check_found, count=count, known=items.known, seen=frozenset(user.not_shown))

        async def drawn(stages: Stages) -> StageReply:
            return items.admitted(await stages.cold_start.retrieve(user, count, request_id))

        async def searched(stages: Stages) -> StageReply:
            return items.admitted(await stages.retrieval.retrieve(user, count))

        draw, search = StageCall(COLD_START, drawn, check), StageCall(RETRIEVAL, searched, check)
        if weight == 0.0:
            return None, await self._asking.ask_or_none(search, trace, deadline)
        if weight == 1.0:
            return await self._asking.ask_or_none(draw, trace, deadline), None
        return await self._calls.together(
            self._asking.ask_or_none(draw, trace, deadline), self._asking.ask_or_none(search, trace, deadline)
        )

    async def _rank(self, user: UserState, found: Candidates, trace: Trace, deadline: Deadline) -> Candidates:
        def call(stages: Stages) -> Awaitable[StageReply]:
            return stages.ranking.rank(user, found)

        check = partial(check_reordered, before=found, descending=True)
        return await self._asking.ask(StageCall(RANKING, call, check), trace, deadline)

    async def _rerank(
        self, user: UserState, ordered: Candidates, slate_length: int, trace: Trace, deadline: Deadline
    ) -> Candidates:
        def call(stages: Stages) -> Awaitable[StageReply]:
            # The re-ranker judges by the time spent of `TIMED_FOR_MS`; what counts is the time that is left.
            spent_ms = deadline.spent_of_ms(TIMED_FOR_MS)
            return stages.reranking.rerank(ordered, user, spent_ms, slate_length)

        check = partial(check_reordered, before=ordered, descending=False)
        return await self._asking.ask(StageCall(RERANKING, call, check), trace, deadline)


def _why_empty(items: ServedItems) -> EmptyReason:
    return EmptyReason.EVERYTHING_FILTERED if len(items.known) else EmptyReason.EMPTY_CATALOGUE


def _has_seen_everything(seen: frozenset[str], items: ServedItems) -> bool:
    known = items.known
    return len(seen) >= len(known) and all(item_id in seen for item_id in known)


def _draw_seed(user: UserState, request_id: str, trace: Trace) -> str | None:
    version = trace.versions.get(COLD_START)
    return None if version is None else f"{draw_seed(user.user_id, request_id, version):016x}"


def _merged(cold: Candidates | None, found: Candidates | None, weight: float, count: int) -> Candidates:
    """The candidates for ranking, in the order to be shown if nobody ranks them."""
    if cold is None or found is None:
        only = cold if cold is not None else found
        if only is None:
            raise ValueError("nothing was found")
        return only
    item_ids = merge(cold, found, weight, count)
    # Two lists without a common scale leave the position alone to go by: Zipf's law of it.
    return Candidates(item_ids, -np.log(np.arange(1, len(item_ids) + 1)).astype(np.float32))


def _as_floats(scores: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(score) for score in scores)
