"""The core of both clients: what is sent, what an answer means, and when to try again. Does no I/O.

A call is a generator. It yields what is to be done next, a request to send or a pause, is sent what came of
it, and returns the answer or raises a `ClientError`. A shell (`sync_client`, `async_client`) performs the
steps and knows nothing else, so that both behave alike.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar

from streamrec.client.answers import (
    EventReceipt,
    Recommendation,
    read_event_receipt,
    read_problem,
    read_recommendation,
)
from streamrec.client.errors import (
    ClientError,
    LateError,
    NoAnswerError,
    ProblemError,
    RateLimitedError,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedStatusError,
    UnreadableAnswerError,
)
from streamrec.client.settings import ClientSettings, checked_deadline_ms
from streamrec.client.user_events import UserEvent
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget

RECOMMENDATIONS_PATH: Final = "/v1/recommendations"
EVENTS_PATH: Final = "/v1/events"
TIMEOUT_HEADER: Final = "x-request-timeout-ms"
MAXIMUM_BATCH: Final = 500
"""Events that one request may hold."""

_PASSING: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_FIRST_REFUSAL, _AFTER_REFUSALS = 400, 500
_LONGEST_RETRY_AFTER: Final = 64
_SHORTEST_ATTEMPT_MS: Final = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Post a request and read its whole answer.

    Attributes:
        url: Where.
        headers: By name.
        content: The body.
        deadline: When the whole of it, connecting included, must be over.
        maximum_bytes: Of the answer's body.
    """

    url: str
    headers: Mapping[str, str]
    content: bytes
    deadline: Deadline
    maximum_bytes: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of whatever status, read to its end; ``retry_after`` is that header, empty without one."""

    status: int
    content: bytes
    retry_after: str = ""


class Failure(StrEnum):
    """Why there is no reply."""

    LATE = "late"
    BROKEN = "broken"
    """There was no connection, or it broke off."""
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class NoReply:
    """What came instead of an answer; ``reason`` is a short name and ``detail`` words."""

    failure: Failure
    reason: str = ""
    detail: str = ""


Step: TypeAlias = Send | Pause
Outcome: TypeAlias = Reply | NoReply | None
"""Of a step; None of a pause."""

Steps: TypeAlias = Generator[Step, Outcome, T]


class Conversations:
    """Makes the steps of every call. Shares one retry budget among them. Safe to use from several threads."""

    def __init__(
        self,
        settings: ClientSettings,
        budget: RetryBudget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Describe the conversations.

        Args:
            settings: Where and how.
            budget: What retries are taken out of; by default one of this object's own.
            clock: Seconds that never go back.
            draw: A number from 0 to 1 for the length of a pause.
        """
        self._settings = settings
        self._budget = RetryBudget() if budget is None else budget
        self._clock = clock
        self._draw = draw

    def recommend(
        self,
        user_id: str,
        *,
        k: int | None,
        context: Mapping[str, str] | None,
        request_id: str | None,
        page_token: str | None,
        deadline_ms: float | None,
    ) -> Steps[Recommendation]:
        """The steps of a recommendation request; `Client.recommend` explains the arguments."""
        fields = {
            "user_id": user_id,
            "k": k,
            "context": dict(context) if context else None,
            "request_id": request_id,
            "page_token": page_token,
        }
        document = {name: value for name, value in fields.items() if value is not None}
        return (yield from self._call(RECOMMENDATIONS_PATH, document, deadline_ms, read_recommendation))

    def send_events(self, events: Sequence[UserEvent], *, deadline_ms: float | None) -> Steps[EventReceipt]:
        """The steps of sending events; `Client.send_events` explains the arguments."""
        receipt = EventReceipt()
        for batch in _batches(events):
            document = {"events": [event.to_json() for event in batch]}
            read = partial(read_event_receipt, sent=len(batch))
            try:
                receipt = receipt.followed_by(
                    (yield from self._call(EVENTS_PATH, document, deadline_ms, read))
                )
            except ClientError as error:
                error.acknowledged = receipt
                raise
        return receipt

    def _call(
        self,
        path: str,
        document: Mapping[str, Any],
        deadline_ms: float | None,
        read: Callable[[bytes, int], T],
    ) -> Steps[T]:
        settings = self._settings
        allowed_ms = settings.timeout_s * 1e3 if deadline_ms is None else checked_deadline_ms(deadline_ms)
        deadline = Deadline.after_ms(allowed_ms, self._clock)
        content = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
        self._budget.record_request()
        for attempt in count(1):
            headers = self._headers(None if deadline_ms is None else deadline)
            sent = Send(settings.base_url + path, headers, content, deadline, settings.maximum_answer_bytes)
            outcome = yield sent
            try:
                return _answer(outcome, attempt, read)
            except ClientError as error:
                error.attempts = attempt
                pause_s = self._pause_s(error, attempt, deadline)
                if pause_s is None:
                    raise
            yield Pause(pause_s)
        raise AssertionError("unreachable: the attempts are counted")

    def _headers(self, told: Deadline | None) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "application/json, application/problem+json",
            # An answer is small: compressed, its size could not be bounded while it is read.
            "accept-encoding": "identity",
        }
        if self._settings.token is not None:
            headers["authorization"] = f"Bearer {self._settings.token}"
        if told is not None:
            left_ms = told.remaining_ms() - self._settings.network_ms
            headers[TIMEOUT_HEADER] = str(max(1, int(left_ms)))
        return headers

    def _pause_s(self, error: ClientError, attempt: int, deadline: Deadline) -> float | None:
        """How long to wait before another attempt; None where the error must stand."""
        if not error.retryable or attempt >= self._settings.maximum_attempts:
            return None
        pause_s = self._settings.retry_pause_s * 2.0 ** (attempt - 1) * (1.0 + self._draw()) / 2.0
        if isinstance(error, ProblemError) and error.problem.retry_after_s is not None:
            pause_s = max(pause_s, error.problem.retry_after_s)
        if pause_s * 1000.0 + _SHORTEST_ATTEMPT_MS >= deadline.remaining_ms():
            return None
        return pause_s if self._budget.try_spend() else None


def _batches(events: Sequence[UserEvent]) -> Iterator[Sequence[UserEvent]]:
    for first in range(0, len(events), MAXIMUM_BATCH):
        yield events[first : first + MAXIMUM_BATCH]


def _answer(outcome: Outcome, attempt: int, read: Callable[[bytes, int], T]) -> T:
    if isinstance(outcome, Reply):
        if outcome.status == HTTPStatus.OK:
            return read(outcome.content, attempt)
        raise _problem_error(outcome)
    assert outcome is not None  # noqa: S101 - only a pause has no outcome
    if outcome.failure is Failure.LATE:
        raise LateError(outcome.detail or "the deadline was over before the answer was there")
    if outcome.failure is Failure.BROKEN:
        raise NoAnswerError(outcome.reason, outcome.detail)
    raise UnreadableAnswerError(outcome.detail)


def _problem_error(reply: Reply) -> ProblemError:
    problem = read_problem(reply.status, reply.content, _seconds(reply.retry_after))
    if reply.status == HTTPStatus.UNAUTHORIZED:
        return UnauthorizedError(problem)
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(problem)
    if reply.status in _PASSING:
        return UnavailableError(problem)
    if _FIRST_REFUSAL <= reply.status < _AFTER_REFUSALS:
        return RefusedError(problem)
    return UnexpectedStatusError(problem)


def _seconds(retry_after: str) -> float | None:
    """Read ``Retry-After`` (RFC 9110, section 10.2.3): seconds, or a date."""
    if not retry_after or len(retry_after) > _LONGEST_RETRY_AFTER:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
