"""The load generator: a process of its own that sends each request when it was planned, whatever happens.

    python -m services.recommendations.load_tests.generator '{"port": 8000, "start_s": 1.5, "load": {}}' FILE

``start_s`` is by the monotonic clock, ``load`` is `LoadSettings`. What was seen goes to FILE
(`recording.Recording`); nothing is printed.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import json
import selectors
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from services.recommendations.load_tests.connection import FAILED, Connection
from services.recommendations.load_tests.recording import (
    NO_RUNG,
    RUNGS,
    STAGE_NAMES,
    Recording,
)
from services.recommendations.load_tests.schedule import LoadSettings, Schedule

RECOMMENDATIONS_PATH: Final = "/v1/recommendations"
EVENTS_PATH: Final = "/v1/events"

_HOST: Final = "127.0.0.1"
_OK: Final = 200
_FIRST_CONNECTIONS: Final = 8
_STAGE_COLUMN: Final = {name: column for column, name in enumerate(STAGE_NAMES)}
_RUNG_CODE: Final = {name: code for code, name in enumerate(RUNGS)}


@dataclass
class _Events:
    """What became of events: they are sent, and answered or not."""

    due: list[tuple[float, int, dict[str, str]]] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    failed: int = 0
    under_way: int = 0


class LoadGenerator:
    """Runs one load. For one event loop; see the module."""

    def __init__(
        self, port: int, settings: LoadSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._port = port
        self._settings = settings
        self._clock = clock
        self._schedule = Schedule.plan(settings)
        # Made before the first is sent: what is left to do at its time is a write.
        self._requests = [
            _request(RECOMMENDATIONS_PATH, self._schedule.body(number, settings))
            for number in range(len(self._schedule))
        ]
        self._recording = Recording.empty(len(self._schedule))
        self._idle: list[Connection] = []
        self._open = 0
        self._answered = 0
        self._events = _Events()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, start_s: float) -> Recording:
        """Send everything and return what was seen.

        Args:
            start_s: When, by the clock; the planned times count from there.
        """
        self._start_s = start_s
        self._recording.times_s[:] = self._schedule.times_s
        self._recording.known[:] = self._schedule.known
        await asyncio.gather(*(self._warm() for _ in range(_FIRST_CONNECTIONS)))
        for number, planned_s in enumerate(self._schedule.times_s.tolist()):
            await self._sleep_until(planned_s)
            self._recording.sent_s[number] = self._now_s()
            self._with_connection(self._sender(number))
        await self._wait_for_the_rest()
        self._close()
        self._recording.event_waits_ms = np.array(self._events.waits_ms)
        self._recording.failed_events = self._events.failed
        return self._recording

    def _now_s(self) -> float:
        return self._clock() - self._start_s

    async def _sleep_until(self, moment_s: float) -> None:
        """Sleep until a moment, sending events that are due before."""
        while True:
            while self._events.due and self._events.due[0][0] <= self._now_s():
                self._send_event(heapq.heappop(self._events.due)[2])
            until = min(moment_s, self._events.due[0][0]) if self._events.due else moment_s
            left_s = until - self._now_s()
            if left_s > 0.0:
                await asyncio.sleep(left_s)
            elif until == moment_s:
                return

    async def _wait_for_the_rest(self) -> None:
        """Wait for answers that are still out, for as long as the patience lasts."""
        end_s = self._now_s() + self._settings.patience_s
        while self._now_s() < end_s:
            if self._answered == len(self._schedule) and not self._events.under_way:
                break
            await self._sleep_until(self._now_s() + 0.02)

    # Connections

    def _with_connection(self, use: Callable[[Connection | None], None]) -> None:
        """Use a free connection now, or a new one as soon as it is there; None where no more are allowed."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                use(connection)
                return
            self._open -= 1
        if self._open >= self._settings.connections:
            use(None)
            return
        self._open += 1
        task = asyncio.get_running_loop().create_task(self._connected(use))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connected(self, use: Callable[[Connection | None], None]) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, _HOST, self._port)
        except OSError:
            self._open -= 1
            use(None)
            return
        use(connection)

    async def _warm(self) -> None:
        self._open += 1
        await self._connected(self._keep)

    def _keep(self, connection: Connection | None) -> None:
        if connection is not None and connection.is_open:
            self._idle.append(connection)
        elif connection is not None:
            self._open -= 1

    def _close(self) -> None:
        for task in self._opening:
            task.cancel()
        for connection in self._idle:
            connection.close()

    # Recommendations

    def _sender(self, number: int) -> Callable[[Connection | None], None]:
        def answered(connection: Connection, status: int, body: bytes) -> None:
            self._note(number, status, body)
            self._keep(connection)

        def send(connection: Connection | None) -> None:
            if connection is None:
                self._note(number, FAILED, b"")
            else:
                connection.send(self._requests[number], answered)

        return send

    def _note(self, number: int, status: int, body: bytes) -> None:
        recording, now_s = self._recording, self._now_s()
        recording.done_s[number] = now_s
        recording.status[number] = status
        self._answered += 1
        if status != _OK:
            return
        try:
            answer = json.loads(body)
            item_ids = [item["item_id"] for item in answer["items"]]
            request_id = answer["request_id"]
            recording.degraded[number] = answer["degraded"]
            recording.rung[number] = _RUNG_CODE.get(answer["rung"], NO_RUNG)
            for stage, spent_ms in answer["stages_ms"].items():
                column = _STAGE_COLUMN.get(stage)
                if column is not None:
                    recording.stages_ms[number, column] = spent_ms
        except (ValueError, KeyError, TypeError):
            recording.status[number] = FAILED
            return
        if self._schedule.with_event[number] and item_ids:
            due_s = max(self._schedule.times_s[number] + self._settings.event_delay_s, now_s)
            event = {
                "event_id": f"load-{request_id}",
                "user_id": self._schedule.user_id(number, self._settings.seed),
                "item_id": item_ids[number % len(item_ids)],
                "kind": "play",
                "request_id": request_id,
            }
            heapq.heappush(self._events.due, (due_s, number, event))

    # Events

    def _send_event(self, event: dict[str, str]) -> None:
        sent_s = self._now_s()
        document = {"events": [{**event, "occurred_at": datetime.now(UTC).isoformat()}]}
        request = _request(EVENTS_PATH, json.dumps(document, separators=(",", ":")).encode())
        self._events.under_way += 1

        def finished(status: int) -> None:
            self._events.under_way -= 1
            if status == _OK:
                self._events.waits_ms.append((self._now_s() - sent_s) * 1000.0)
            else:
                self._events.failed += 1

        def answered(connection: Connection, status: int, _body: bytes) -> None:
            finished(status)
            self._keep(connection)

        def send(connection: Connection | None) -> None:
            if connection is None:
                finished(FAILED)
            else:
                connection.send(request, answered)

        self._with_connection(send)


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {_HOST}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run_load(port: int, settings: LoadSettings, start_s: float) -> Recording:
    """Run one load against a service on this machine, in this process."""
    generator = LoadGenerator(port, settings)
    # `epoll` sleeps in whole milliseconds, `select` in microseconds: requests are to be sent when planned.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    gc.freeze()
    gc.disable()  # nothing here makes circles; a collection would delay what is planned meanwhile
    before_s = time.process_time()
    try:
        recording = loop.run_until_complete(generator.run(start_s))
        recording.process_cpu_s = time.process_time() - before_s
        return recording
    finally:
        gc.enable()
        loop.close()


def main() -> None:
    """Run what the arguments say."""
    asked = json.loads(sys.argv[1])
    run_load(asked["port"], LoadSettings.from_json(asked["load"]), asked["start_s"]).write(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
