"""The typed client with a stopwatch: in the demo a failure is part of the measurement, never an exception."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from services.cli.demo.measurements import RequestRecord
from streamrec import client as api
from streamrec.serving.retry_budget import RetryBudget

GATEWAY_REST: Final = "gateway"
"""Time in the gateway that no stage accounts for."""

OUTSIDE_GATEWAY: Final = "http"
"""Time between client and gateway: HTTP, the proxy, queues, the client itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered or failed request, and the id that events refer to (None without an answer)."""

    record: RequestRecord
    request_id: str | None


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What the service said about events: how many it accepted, and how many it quarantined by reason."""

    sent: int
    accepted: int
    quarantined: Mapping[str, int]
    failed: int


class RecommendationClient:
    """Sends requests one after the other; used by one thread. A context manager."""

    def __init__(
        self, base_url: str, budget: RetryBudget, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = api.Client(api.ClientSettings(base_url), budget, sleep=sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def recommend(self, user_id: str, *, known_user: bool, k: int, context: Mapping[str, str]) -> Answer:
        """Ask for a slate.

        Args:
            user_id: Who asks.
            known_user: Goes into the record as it is.
            k: Length of the slate.
            context: Segment attributes of a user that the service may not know; empty for none.
        """
        started = time.perf_counter()
        try:
            slate = self._client.recommend(user_id, k=k, context=context)
        except api.ClientError as error:
            latency_ms = (time.perf_counter() - started) * 1e3
            return Answer(
                RequestRecord(user_id, known_user, latency_ms, error.attempts, _words(error)), request_id=None
            )
        latency_ms = (time.perf_counter() - started) * 1e3
        record = RequestRecord(
            user_id=user_id,
            known_user=known_user,
            latency_ms=latency_ms,
            attempts=slate.attempts,
            item_ids=slate.item_ids,
            rung=slate.rung,
            degraded=slate.degraded,
            in_full=slate.in_full,
            cold_start=slate.cold_start,
            stages_ms=_stages_ms(slate, latency_ms),
            model_versions=slate.model_versions,
        )
        return Answer(record, slate.request_id)

    def send_events(self, events: Sequence[api.UserEvent]) -> EventReceipt:
        """Send events. A retry is safe: the service counts an event id once."""
        try:
            receipt, failed = self._client.send_events(events), 0
        except api.ClientError as error:
            receipt = error.acknowledged or api.EventReceipt()
            failed = len(events) - receipt.sent
        reasons = Counter(event.reason for event in receipt.quarantined)
        return EventReceipt(len(events), receipt.accepted, reasons, failed)


def _words(error: api.ClientError) -> str:
    """A failure in few words, so that equal ones can be counted."""
    if isinstance(error, api.ProblemError):
        return f"status {error.problem.status}"
    if isinstance(error, api.NoAnswerError):
        return error.reason
    return "late" if isinstance(error, api.LateError) else f"unreadable answer ({error})"


def _stages_ms(slate: api.Recommendation, latency_ms: float) -> dict[str, float]:
    """Stages as the gateway timed them, the gateway's own rest, and what happens outside of the gateway."""
    return {
        **slate.stages_ms,
        GATEWAY_REST: max(0.0, slate.latency_ms - sum(slate.stages_ms.values())),
        OUTSIDE_GATEWAY: max(0.0, latency_ms - slate.latency_ms),
    }
