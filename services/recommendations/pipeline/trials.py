"""How the pipeline asks challengers: first, within half of a request's time, so that the champion can still
answer whatever becomes of them.

A challenger that fails, is late or answers what must not be shown costs the user a wait and nothing else: the
champion is asked in its place. It is asked through calls of its own, so that its failures open no circuit
and spend no retry of the champion's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.recommendations.contracts.stages import Pin, StageReply
from services.recommendations.pipeline.stage_calls import (
    CallSettings,
    GuardedCalls,
    StageRequest,
    StageSkippedError,
)
from services.recommendations.pipeline.trace import AskedVersion, StageCall, ToShadow, Trace
from streamrec.contracts.slots import ServingRole
from streamrec.serving.counting.served_counts import AskedOutcome
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget

_LOG = logging.getLogger(__name__)

_LEFT_FOR_THE_CHAMPION: Final = 0.5
"""Part of a request's time. A healthy request takes a tenth to a fifth of it in all."""

_LEAST_FOR_A_CHALLENGER: Final = 0.2
"""Part of a request's time. With less it is not asked: a healthy one takes a twentieth."""

_BACK_WITHIN: Final = 0.5
"""Part of the time that is left then, for which a request waits for its turn after it was away."""

_MAXIMUM_SHADOWS: Final = 8
_COMPARED_ITEMS: Final = 10
"""First places that a shadow is compared in: those that a user sees."""


def trial_settings(champion: CallSettings) -> CallSettings:
    """How challengers are waited for, where champions are waited for like this."""
    return replace(champion, reserve_share=_LEFT_FOR_THE_CHAMPION, least_share=_LEAST_FOR_A_CHALLENGER)


class Trials:
    """Asks the challengers of requests. For one event loop."""

    def __init__(
        self,
        settings: CallSettings,
        retries: RetryBudget,
        on_fault: Callable[[str, Exception, str], None],
    ) -> None:
        """Describe how they are asked.

        Args:
            settings: As of the champions.
            retries: As of the champions; a budget of its own is made of it.
            on_fault: Told the stage, what its challenger raised, and what follows.
        """

        def note(stage: str, error: Exception, _consequence: str) -> None:
            on_fault(f"{stage}_challenger", error, "the champion answers in its place")

        self._calls = GuardedCalls(trial_settings(settings), retries.fresh(), note)

    async def reply(self, asked: StageCall, pin: Pin, trace: Trace, deadline: Deadline) -> StageReply | None:
        """Return the challenger's answer, checked; None where there is none, which the trace then says.

        Args:
            asked: What is wanted.
            pin: The challenger.
            trace: Of the request. Its turn is let go of meanwhile: the challenger computes elsewhere.
            deadline: Of the request.
        """
        trial = trace.stages.trial
        assert trial is not None  # noqa: S101 - it is where the pin comes from
        request = StageRequest(asked.stage, lambda: asked.call(trial.stages), asked.check)
        started_ms = deadline.elapsed_ms()
        try:
            async with trace.turn.away(lambda: _BACK_WITHIN * deadline.remaining_ms() / 1000.0):
                reply = await self._calls(request, deadline)
        except StageSkippedError as error:
            waited_ms = deadline.elapsed_ms() - started_ms
            trace.asked.append(AskedVersion(asked.stage, pin, None, error.outcome, waited_ms))
            if error.outcome is not AskedOutcome.NOT_ASKED:
                trace.in_vain_ms += waited_ms
            trace.give_up(pin)
            return None
        waited_ms = deadline.elapsed_ms() - started_ms
        trace.asked.append(
            AskedVersion(asked.stage, pin, reply.version, AskedOutcome.ANSWERED, waited_ms, reply.model_ms)
        )
        return reply


@dataclass(frozen=True, slots=True)
class ShadowAnswer:
    """What came of asking a shadow.

    Attributes:
        request_id, unit: Of the request that it was asked beside.
        traffic_revision: Of the traffic document that named it.
        asked: Who, and what came of it.
        disagreed: Whether its first places are others than the champion's.
        item_ids: Its first places; empty where it did not answer.
    """

    request_id: str
    unit: str
    traffic_revision: int | None
    asked: AskedVersion
    disagreed: bool
    item_ids: tuple[str, ...]


class Shadows:
    """Asks shadows beside the requests, only while there is room. For one event loop."""

    def __init__(
        self,
        settings: CallSettings,
        has_room: Callable[[], bool],
        on_answer: Callable[[ShadowAnswer], None],
        *,
        maximum_under_way: int = _MAXIMUM_SHADOWS,
    ) -> None:
        """Describe how they are asked.

        Args:
            settings: As of the champions.
            has_room: Whether the service has capacity to spare.
            on_answer: Told what came of each that was asked.
            maximum_under_way: At once; beyond, none is asked.
        """
        # No second attempt, which would only cost more: what matters is what it answers by itself.
        self._calls = GuardedCalls(
            trial_settings(settings), RetryBudget(ratio=0.0, initial_retries=0.0), _nobody
        )
        self._has_room, self._on_answer = has_room, on_answer
        self._maximum_under_way = maximum_under_way
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, wanted: list[ToShadow], request_id: str, unit: str, deadline: Deadline) -> None:
        """Ask them, as far as there is room, without waiting for any.

        Args:
            wanted: Of one request that is done.
            request_id, unit: Of that request.
            deadline: Of that request: a shadow has as much time as it had.
        """
        for shadow in wanted:
            if len(self._under_way) >= self._maximum_under_way or not self._has_room():
                return
            own = Deadline.after_ms(deadline.budget_ms, deadline.clock)
            task = asyncio.create_task(self._ask(shadow, request_id, unit, own), name="shadow")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Wait for none of them any more."""
        tasks = tuple(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, shadow: ToShadow, request_id: str, unit: str, deadline: Deadline) -> None:
        asked, revision = shadow.asked, shadow.stages.traffic_revision
        request = StageRequest(asked.stage, lambda: asked.call(shadow.stages), asked.check)
        try:
            reply = await self._calls(request, deadline)
        except StageSkippedError as error:
            note = AskedVersion(asked.stage, shadow.pin, None, error.outcome, deadline.elapsed_ms())
            self._on_answer(ShadowAnswer(request_id, unit, revision, note, disagreed=False, item_ids=()))
            return
        item_ids = reply.candidates.item_ids[:_COMPARED_ITEMS]
        disagreed = item_ids != shadow.answered[:_COMPARED_ITEMS]
        note = AskedVersion(
            asked.stage,
            shadow.pin,
            reply.version,
            AskedOutcome.ANSWERED,
            deadline.elapsed_ms(),
            reply.model_ms,
        )
        self._on_answer(ShadowAnswer(request_id, unit, revision, note, disagreed, item_ids))


def _nobody(stage: str, error: Exception, _consequence: str) -> None:
    _LOG.debug("the shadow of %s failed", stage, exc_info=error)


def non_champions(roles: Mapping[str, ServingRole]) -> dict[str, ServingRole]:
    """The stages that another than the champion answered."""
    return {stage: role for stage, role in roles.items() if role is not ServingRole.CHAMPION}
