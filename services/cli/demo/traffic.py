"""Drives the service over HTTP: a few concurrent clients in a closed loop, each waiting for its answer."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from services.cli.demo.audience import Audience, Visit
from services.cli.demo.client import EventReceipt, RecommendationClient
from services.cli.demo.measurements import RequestRecord
from streamrec.contracts.progress import Progress
from streamrec.serving.retry_budget import RetryBudget

DEFAULT_CLIENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Exchange:
    """One visit and what came of it."""

    visit: Visit
    record: RequestRecord
    events: EventReceipt


@dataclass(frozen=True, slots=True)
class TrafficResult:
    """Everything the clients saw.

    Attributes:
        exchanges: One for each planned visit, in the order of completion.
        clients: Concurrent clients.
        wall_s: From the first request to the last answer.
    """

    exchanges: tuple[Exchange, ...]
    clients: int
    wall_s: float

    @property
    def records(self) -> list[RequestRecord]:
        """The recommendation requests."""
        return [exchange.record for exchange in self.exchanges]


def drive(
    base_url: str,
    audience: Audience,
    plan: Sequence[Visit],
    progress: Progress,
    *,
    k: int,
    clients: int = DEFAULT_CLIENTS,
    client_factory: Callable[[str, RetryBudget], RecommendationClient] = RecommendationClient,
) -> TrafficResult:
    """Make every visit of ``plan`` and feed the users' events back after each answer.

    The loop is closed: a slow answer delays that client's next request, so the latencies are those of
    ``clients`` users at once and not of a fixed arrival rate. All requests of one user go through one client,
    in the plan's order, and a user's events are acknowledged before the next request. Events are not
    part of the measured latency.

    Raises:
        Exception: Whatever ``audience`` raises; the other clients stop at their next request.
    """
    queues: list[list[Visit]] = [[] for _ in range(clients)]
    for visit in plan:
        queues[zlib.crc32(visit.user_id.encode()) % clients].append(visit)
    budget = RetryBudget()
    exchanges: list[Exchange] = []
    lock = threading.Lock()
    stopping = threading.Event()

    def run(queue: Sequence[Visit]) -> None:
        with client_factory(base_url, budget) as client:
            for visit in queue:
                if stopping.is_set():
                    return
                exchange = _visit(client, audience, visit, k)
                with lock:
                    exchanges.append(exchange)
                    progress.advance()

    progress.start(f"requests from {clients} clients", len(plan))
    started = time.perf_counter()
    with ThreadPoolExecutor(clients, thread_name_prefix="traffic") as pool:
        futures = [pool.submit(run, queue) for queue in queues]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # Also on Ctrl-C: the pool waits for its threads, and they must not finish the plan first.
            if any(not future.done() or future.exception() is not None for future in futures):
                stopping.set()
        for future in futures:
            future.result()
    wall_s = time.perf_counter() - started
    progress.finish(f"{len(exchanges) / wall_s:.0f} requests a second" if wall_s > 0 else "")
    return TrafficResult(tuple(exchanges), clients, wall_s)


def _visit(client: RecommendationClient, audience: Audience, visit: Visit, k: int) -> Exchange:
    answer = client.recommend(visit.user_id, known_user=visit.known_user, k=k, context=visit.context)
    events = EventReceipt(0, 0, {}, 0)
    if answer.request_id is not None:
        events = client.send_events(audience.respond(visit, answer.record.item_ids, answer.request_id))
    return Exchange(visit, answer.record, events)


def event_totals(exchanges: Sequence[Exchange]) -> dict[str, object]:
    """Sum what the service said about the events."""
    reasons: dict[str, int] = {}
    for exchange in exchanges:
        for reason, count in exchange.events.quarantined.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return {
        "sent": sum(exchange.events.sent for exchange in exchanges),
        "accepted": sum(exchange.events.accepted for exchange in exchanges),
        "quarantined": sum(reasons.values()),
        "quarantined_by_reason": reasons,
        "failed": sum(exchange.events.failed for exchange in exchanges),
    }


def first_answer_hits(
    exchanges: Sequence[Exchange], held_out: Mapping[str, str], depth: int = 10
) -> list[float]:
    """Return 1.0 for each known user whose first slate held the test item in its first ``depth``, else 0.0.

    A user whose first request failed was not served and is left out; errors are counted elsewhere.
    """
    return [
        float(held_out[exchange.visit.user_id] in exchange.record.item_ids[:depth])
        for exchange in exchanges
        if exchange.visit.number == 0 and exchange.visit.user_id in held_out and exchange.record.answered
    ]
