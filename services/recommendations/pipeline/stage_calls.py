"""How a stage is called: with a deadline, a circuit breaker and one budgeted retry, or plainly."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.contracts.stages import MODEL_STAGES, StageReply
from streamrec.contracts.errors import (
    DeadlineExceededError,
    OverloadedError,
    PermanentError,
    TemporaryError,
)
from streamrec.serving.circuit_breaker import CircuitBreaker, CircuitState
from streamrec.serving.counting.served_counts import AskedOutcome
from streamrec.serving.deadline import Deadline, call_within
from streamrec.serving.retry_budget import RetryBudget

_LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

_SHORTEST_CALL_MS: Final = 3.0
"""Below this no call is begun: the way to another process and back takes up to 2 ms by itself."""

_FAIR_SHARE: Final = 0.5
"""Part of its time-out that a stage must have had to be blamed for lateness. A healthy one takes a tenth."""


class StageSkippedError(TemporaryError):
    """A stage was late, down, refused, or answered something unusable: go down the ladder.

    Attributes:
        failed: Whether it failed, answered something unusable, or is left alone because it keeps failing;
            else it was late, or there was no time left to ask it.
        late: Whether it was asked and waited for, and did not answer in time.
        malformed: Whether it failed by answering something unusable.
    """

    def __init__(
        self, message: str, *, failed: bool = False, late: bool = False, malformed: bool = False
    ) -> None:
        super().__init__(message)
        self.failed = failed
        self.late = late
        self.malformed = malformed

    @property
    def outcome(self) -> AskedOutcome:
        """What came of asking the stage."""
        if self.malformed:
            return AskedOutcome.MALFORMED
        if self.failed:
            return AskedOutcome.FAILED
        return AskedOutcome.LATE if self.late else AskedOutcome.NOT_ASKED


class UnusableAnswerError(PermanentError):
    """A stage answered, but not what it was asked; asking again would not help."""


@dataclass(frozen=True, slots=True)
class StageRequest:
    """One call to be made.

    Attributes:
        stage: Its name.
        call: Makes one attempt.
        check: Raises `UnusableAnswerError` for an answer that must not be used.
    """

    stage: str
    call: Callable[[], Awaitable[StageReply]]
    check: Callable[[Candidates], None]


class StageCalls(Protocol):
    """Calls stages on behalf of the pipeline."""

    async def __call__(self, request: StageRequest, deadline: Deadline) -> StageReply:
        """Return a checked answer.

        Raises:
            StageSkippedError: There is none.
        """
        ...

    async def together(
        self, first: Coroutine[Any, Any, _T], second: Coroutine[Any, Any, _T]
    ) -> tuple[_T, _T]:
        """Wait for two calls that do not need each other."""
        ...


class PlainCalls:
    """Calls without deadline and retry, for offline use: an evaluation must fail rather than degrade."""

    async def __call__(self, request: StageRequest, deadline: Deadline) -> StageReply:  # noqa: ARG002 - port
        """Call once; every error passes through."""
        reply = await request.call()
        request.check(reply.candidates)
        return reply

    async def together(
        self, first: Coroutine[Any, Any, _T], second: Coroutine[Any, Any, _T]
    ) -> tuple[_T, _T]:
        """One after the other: models in this process answer at once, and there may be no event loop."""
        try:
            return await first, await second
        finally:
            second.close()


@dataclass(frozen=True, slots=True)
class CallSettings:
    """When the gateway stops waiting for a stage.

    Attributes:
        timeout_ms: Longest wait by stage. A healthy stage answers in a tenth of it; what bounds the sum is
            the request's deadline.
        budget_ms: Of the requests that ``timeout_ms`` is meant for: one that has more or less time waits for
            its stages in proportion. None: every request waits as long.
        reserve_ms: Left over for writing the answer.
        reserve_share: Part of a request's time that is left over, if that is more: where somebody else can
            be asked if this stage fails.
        least_share: Part of a request's time without which no call is begun, if that is more than what any
            call takes: who is given too little is late through no fault of its own.
        failure_threshold: Failures after which a stage is left alone, if nine in ten calls fail.
        judged_calls: Calls that this is judged by. The breaker is one for all replicas of a stage: a caller
            of Ray Serve does not choose the replica, and Ray itself passes over those that died or hang.
            So it must not open because one of several fails.
        open_for_ms: For how long.
    """

    timeout_ms: Mapping[str, float]
    budget_ms: float | None = None
    reserve_ms: float = 3.0
    reserve_share: float = 0.0
    least_share: float = 0.0
    failure_threshold: int = 5
    judged_calls: int = 20
    open_for_ms: float = 500.0

    def wait_ms(self, stage: str, deadline: Deadline) -> float:
        """How long a request may wait for a stage, as long as it has that much time left."""
        of_budget = 1.0 if self.budget_ms is None else deadline.budget_ms / self.budget_ms
        return self.timeout_ms[stage] * of_budget

    def share_ms(self, stage: str, deadline: Deadline) -> float | None:
        """What a call may take that is begun now; None where too little time is left to begin one."""
        reserve_ms = max(self.reserve_ms, self.reserve_share * deadline.budget_ms)
        share_ms = deadline.share_ms(self.wait_ms(stage, deadline), reserve_ms=reserve_ms)
        return None if share_ms < max(_SHORTEST_CALL_MS, self.least_share * deadline.budget_ms) else share_ms


_SKIPPED: Final = "the stage is skipped"


def _log_fault(stage: str, error: Exception, consequence: str) -> None:
    _LOG.warning("%s failed: %s", stage, consequence, exc_info=error)


class GuardedCalls:
    """Calls that cannot hold up a request or a struggling stage. For one event loop."""

    def __init__(
        self,
        settings: CallSettings,
        retries: RetryBudget,
        on_fault: Callable[[str, Exception, str], None] = _log_fault,
    ) -> None:
        """Describe how stages are called.

        Args:
            settings: When to stop waiting.
            retries: What second attempts may cost, of each stage by itself: out of one budget for all, the
                calls of three stages that are well would pay for retries of one that is not.
            on_fault: Told the stage, what it raised, and what follows, where a stage is skipped because it
                failed. There may be thousands in a second.
        """
        self._settings = settings
        self._on_fault = on_fault
        self._retries = {stage: retries.fresh() for stage in MODEL_STAGES}
        self._breakers = {
            stage: CircuitBreaker(
                stage,
                failure_threshold=settings.failure_threshold,
                judged_calls=settings.judged_calls,
                open_for_ms=settings.open_for_ms,
                failures=(Exception,),
            )
            for stage in MODEL_STAGES
        }

    async def __call__(self, request: StageRequest, deadline: Deadline) -> StageReply:
        """Call with the time that is left; retry once if the failure may pass and the budget allows it."""
        self._retries[request.stage].record_request()
        try:
            return await self._attempt(request, deadline)
        except TimeoutError as error:
            raise StageSkippedError(f"{request.stage} is late", late=True) from error
        except TemporaryError as error:
            first = error
        except Exception as error:
            self._on_fault(request.stage, error, _SKIPPED)
            raise _failed(f"{request.stage} failed: {error}", error) from error
        stopped = self._breakers[request.stage].state is not CircuitState.CLOSED
        if isinstance(first, StageSkippedError) or stopped or not self._retries[request.stage].try_spend():
            if not isinstance(first, StageSkippedError):
                self._on_fault(request.stage, first, _SKIPPED)
            raise _failed(f"{request.stage} failed: {first}", first) from first
        try:
            return await self._attempt(request, deadline)
        except Exception as error:
            if _is_failure(error):
                self._on_fault(request.stage, error, _SKIPPED)
            raise _failed(f"{request.stage} failed twice: {error}", error) from error

    async def together(
        self, first: Coroutine[Any, Any, _T], second: Coroutine[Any, Any, _T]
    ) -> tuple[_T, _T]:
        """Both at once: the wait is that of the slower one."""
        return await asyncio.gather(first, second)

    async def _attempt(self, request: StageRequest, deadline: Deadline) -> StageReply:
        # Models may run on this very loop: between two of them it looks for what came in.
        await asyncio.sleep(0)
        share_ms = self._settings.share_ms(request.stage, deadline)
        if share_ms is None:
            raise StageSkippedError(f"{request.stage}: no time left after {deadline.elapsed_ms():.0f} ms")
        # Nor is a full queue of ours, which turns a call down at once, a failure of the stage.
        excused: tuple[type[BaseException], ...] = (OverloadedError,)
        breaker = self._breakers[request.stage]
        if share_ms < _FAIR_SHARE * self._settings.timeout_ms[request.stage]:
            if breaker.state is not CircuitState.CLOSED:
                # Its lateness would prove nothing, so it is no probe.
                raise StageSkippedError(f"{request.stage} is left alone", failed=True)
            excused = (OverloadedError, TimeoutError)
        with breaker.guard(excused=excused):
            try:
                with call_within(Deadline.after_ms(share_ms, deadline.clock)):
                    async with asyncio.timeout(share_ms / 1000.0):
                        reply = await request.call()
            except DeadlineExceededError as error:
                raise TimeoutError(str(error)) from error
            request.check(reply.candidates)
        return reply


def _failed(message: str, error: Exception) -> StageSkippedError:
    late = isinstance(error, TimeoutError) or (isinstance(error, StageSkippedError) and error.late)
    return StageSkippedError(
        message, failed=_is_failure(error), late=late, malformed=isinstance(error, UnusableAnswerError)
    )


def _is_failure(error: Exception) -> bool:
    return error.failed if isinstance(error, StageSkippedError) else not isinstance(error, TimeoutError)


def check_found(candidates: Candidates, *, count: int, known: Collection[str], seen: Set[str]) -> None:
    """Refuse candidates that no retriever may return.

    Raises:
        UnusableAnswerError: None at all, too many, not finite, not sorted, repeated, unknown or seen items.
    """
    _check_scores(candidates)
    item_ids = candidates.item_ids
    if not item_ids:
        raise UnusableAnswerError("it found no item")
    if len(item_ids) > count:
        raise UnusableAnswerError(f"{len(item_ids)} items where at most {count} were asked for")
    if len(set(item_ids)) != len(item_ids):
        raise UnusableAnswerError("an item stands there more than once")
    if not all(map(known.__contains__, item_ids)):
        unknown = next(item_id for item_id in item_ids if item_id not in known)
        raise UnusableAnswerError(f"item {unknown!r} is not in the catalogue")
    if not seen.isdisjoint(item_ids):
        again = next(item_id for item_id in item_ids if item_id in seen)
        raise UnusableAnswerError(f"the user has already seen item {again!r}")


def check_reordered(candidates: Candidates, before: Candidates, *, descending: bool) -> None:
    """Refuse anything but the items of ``before`` in some order.

    Raises:
        UnusableAnswerError: Another length, other or repeated items, scores not finite or (where
            ``descending``) not sorted.
    """
    _check_scores(candidates, descending=descending)
    if len(candidates) != len(before):
        raise UnusableAnswerError(f"{len(candidates)} items where {len(before)} were handed over")
    if set(candidates.item_ids) != set(before.item_ids):
        raise UnusableAnswerError("other items than were handed over")


def _check_scores(candidates: Candidates, *, descending: bool = True) -> None:
    # A reply from another process never ran the constructor's checks.
    scores = candidates.scores
    if not isinstance(scores, np.ndarray) or scores.shape != (len(candidates.item_ids),):
        raise UnusableAnswerError("not one score an item")
    if not np.issubdtype(scores.dtype, np.floating):
        raise UnusableAnswerError(f"scores of type {scores.dtype}")
    if not math.isfinite(float(scores.sum(dtype=np.float64))):
        raise UnusableAnswerError("a score is not finite")
    if descending and len(scores) > 1 and bool((scores[1:] > scores[:-1]).any()):
        raise UnusableAnswerError("scores are not sorted")
