"""One keep-alive HTTP client of the recommendation service, with bounded retries and a stopwatch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from services.cli.demo.measurements import RequestRecord
from streamrec.serving.retry_budget import RetryBudget

RECOMMENDATIONS_PATH: Final = "/v1/recommendations"
EVENTS_PATH: Final = "/v1/events"

GATEWAY_REST: Final = "gateway"
"""Time in the gateway that no stage accounts for."""

OUTSIDE_GATEWAY: Final = "http"
"""Time between client and gateway: HTTP, the proxy, queues, the client itself."""

_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_RETRY_PAUSE_S: Final = 0.05
_TIMEOUT_S: Final = 10.0


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
    """Sends requests over one connection; used by one thread. A context manager."""

    def __init__(
        self,
        base_url: str,
        budget: RetryBudget,
        *,
        timeout_s: float = _TIMEOUT_S,
        retry_pause_s: float = _RETRY_PAUSE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout_s, trust_env=False)
        self._budget = budget
        self._retry_pause_s = retry_pause_s
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def recommend(self, user_id: str, *, known_user: bool, k: int, context: Mapping[str, str]) -> Answer:
        """Ask for a slate. A failure is part of the measurement, never an exception.

        Args:
            user_id: Who asks.
            known_user: Goes into the record as it is.
            k: Length of the slate.
            context: Segment attributes of a user that the service may not know; empty for none.
        """
        body: dict[str, Any] = {"user_id": user_id, "k": k}
        if context:
            body["context"] = dict(context)
        started = time.perf_counter()
        reply, failure, attempts = self._post(RECOMMENDATIONS_PATH, body)
        latency_ms = (time.perf_counter() - started) * 1e3
        if reply is None:
            return Answer(RequestRecord(user_id, known_user, latency_ms, attempts, failure), None)
        try:
            record = RequestRecord(
                user_id=user_id,
                known_user=known_user,
                latency_ms=latency_ms,
                attempts=attempts,
                item_ids=tuple(str(item["item_id"]) for item in reply["items"]),
                rung=str(reply["rung"]),
                degraded=bool(reply["degraded"]),
                in_full=bool(reply["in_full"]),
                cold_start=bool(reply["cold_start"]),
                stages_ms=_stages_ms(reply, latency_ms),
                model_versions={str(name): int(v) for name, v in reply["model_versions"].items()},
            )
            request_id = str(reply["request_id"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            failure = f"unreadable answer ({type(error).__name__}: {error})"
            return Answer(RequestRecord(user_id, known_user, latency_ms, attempts, failure), None)
        return Answer(record, request_id)

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventReceipt:
        """Send events in one request. A retry is safe: the service counts an event id once."""
        if not events:
            return EventReceipt(0, 0, {}, 0)
        reply, _, _ = self._post(EVENTS_PATH, {"events": [dict(event) for event in events]})
        if reply is None:
            return EventReceipt(len(events), 0, {}, len(events))
        reasons: dict[str, int] = {}
        for refused in reply.get("quarantined", ()):
            reason = str(refused["reason"])
            reasons[reason] = reasons.get(reason, 0) + 1
        return EventReceipt(len(events), int(reply["accepted"]), reasons, 0)

    def _post(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str, int]:
        """Post with at most one retry, if the shared budget allows it. Returns reply, failure, attempts."""
        content = json.dumps(body, allow_nan=False).encode()
        self._budget.record_request()
        failure = ""
        for attempt in (1, 2):
            retryable = True
            try:
                response = self._http.post(
                    path, content=content, headers={"content-type": "application/json"}
                )
                if response.is_success:
                    reply = response.json()
                    if isinstance(reply, dict):
                        return reply, "", attempt
                    failure, retryable = "unreadable answer (not an object)", False
                else:
                    failure = f"status {response.status_code}"
                    retryable = response.status_code in _RETRYABLE_STATUSES
            except httpx.TransportError as error:
                failure = type(error).__name__
            except ValueError:
                failure, retryable = "unreadable answer (not JSON)", False
            if attempt == 2 or not retryable or not self._budget.try_spend():
                return None, failure, attempt
            self._sleep(self._retry_pause_s)
        raise AssertionError("unreachable: the second attempt always returns")


def _stages_ms(reply: Mapping[str, Any], latency_ms: float) -> dict[str, float]:
    """Stages as the gateway timed them, the gateway's own rest, and what happens outside of the gateway."""
    stages = {str(stage): float(spent) for stage, spent in reply["stages_ms"].items()}
    gateway_ms = float(reply["latency_ms"])
    return {
        **stages,
        GATEWAY_REST: max(0.0, gateway_ms - sum(stages.values())),
        OUTSIDE_GATEWAY: max(0.0, latency_ms - gateway_ms),
    }
