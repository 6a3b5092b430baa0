"""Asks a service for recommendations in an open loop; a program of its own, so that it waits for nobody.

Arrivals are a seeded Poisson process that never waits for an answer, and a latency counts from the planned
time: a service that stalls cannot make its own requests come later. It ends when its standard input is
closed, or after the longest time that it was given.

Usage: open_loop_client.py FILE, a JSON document with the fields of `Plan`, which is where they are described.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

_PATH: Final = "/v1/recommendations"
_CONNECTIONS: Final = 256


@dataclass(frozen=True)
class Plan:
    """What is asked.

    Attributes:
        host, port: Of the service.
        other_port: Of a second proxy of the same service; what gets no answer at one is sent to the other,
            once. None: there is no other.
        rps: Requests a second on average.
        seed: Of arrivals and users.
        users: Ids of known users.
        answers: Where the answers are written, one JSON document a line.
        new_share: Part of the requests that is for users whom nobody knows, each another one.
        longest_s: When it ends by itself.
        timeout_s: When a request that was not answered has failed.
        deadline_ms: Sent as the header ``X-Request-Timeout-Ms``; None: no such header.
    """

    host: str
    port: int
    rps: float
    seed: int
    users: tuple[str, ...]
    answers: str
    other_port: int | None = None
    new_share: float = 0.25
    longest_s: float = 600.0
    timeout_s: float = 5.0
    deadline_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One request.

    Attributes:
        planned_s: When it was to be sent, by the system's monotonic clock.
        latency_ms: From then to the last byte of the answer, or to the failure.
        status: HTTP status; 0 where there was no answer.
        items: Items in the slate.
        degraded: What the answer says of itself.
        rung: The same.
        features_ms: How long the gateway says that it waited for the user's features.
        problem: Why there was no answer, or what the one that is not 200 says.
    """

    planned_s: float
    latency_ms: float
    status: int
    items: int = 0
    degraded: bool = False
    rung: str = ""
    features_ms: float = 0.0
    problem: str = ""

    @property
    def refused(self) -> bool:
        """Whether the service said that it has too much to do."""
        return self.status == 503 and self.problem.endswith(":overloaded")

    @property
    def ok(self) -> bool:
        """Whether it is 200 with a slate."""
        return self.status == 200 and self.items > 0


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Client:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ports = [plan.port] if plan.other_port is None else [plan.port, plan.other_port]
        self._idle: dict[int, list[_Connection]] = {port: [] for port in self._ports}
        self._open = asyncio.Semaphore(_CONNECTIONS)
        self._headers = f"POST {_PATH} HTTP/1.1\r\nhost: {plan.host}\r\ncontent-type: application/json\r\n"
        if plan.deadline_ms is not None:
            self._headers += f"x-request-timeout-ms: {plan.deadline_ms:g}\r\n"

    async def ask(self, user_id: str, planned_s: float) -> Answer:
        """Ask once; never raises."""

        def spent_ms() -> float:
            return (time.monotonic() - planned_s) * 1000.0

        try:
            async with asyncio.timeout(self._plan.timeout_s), self._open:
                status, body = await self._asked(json.dumps({"user_id": user_id, "k": 20}).encode())
        except (OSError, EOFError, ValueError) as error:
            return Answer(planned_s, spent_ms(), 0, problem=f"{type(error).__name__}: {error}")
        latency_ms = spent_ms()
        try:
            document: dict[str, Any] = json.loads(body)
        except ValueError:
            return Answer(planned_s, latency_ms, status, problem=body[:200].decode(errors="replace"))
        if status != 200:
            return Answer(planned_s, latency_ms, status, problem=str(document.get("type", document)))
        return Answer(
            planned_s,
            latency_ms,
            status,
            len(document["items"]),
            bool(document["degraded"]),
            str(document["rung"]),
            float(document["stages_ms"].get("features", 0.0)),
        )

    async def _asked(self, body: bytes) -> tuple[int, bytes]:
        """Ask one proxy, in turns, and where it gives no answer the other."""
        self._ports.reverse()
        first, *others = self._ports
        try:
            return await self._exchange(first, body)
        except (OSError, EOFError):
            if not others:
                raise
        return await self._exchange(others[0], body)

    async def _exchange(self, port: int, body: bytes) -> tuple[int, bytes]:
        reader, writer = await self._connection(port)
        try:
            writer.write(f"{self._headers}content-length: {len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lines = head.split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            if "content-length" in fields:
                answer = await reader.readexactly(int(fields["content-length"]))
            else:  # of the proxy itself, which closes the connection
                answer, fields["connection"] = await reader.read(), "close"
        except BaseException:
            writer.close()
            raise
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._idle[port].append((reader, writer))
        return int(lines[0].split()[1]), answer

    async def _connection(self, port: int) -> _Connection:
        while self._idle[port]:
            reader, writer = self._idle[port].pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._plan.host, port)


async def run(plan: Plan, written: TextIO) -> None:
    """Ask until standard input is closed."""
    random_numbers = random.Random(plan.seed)
    client = _Client(plan)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: None if os.read(sys.stdin.fileno(), 1) else stopped.set())
    under_way: set[asyncio.Task[Answer]] = set()

    def write(task: asyncio.Task[Answer]) -> None:
        under_way.discard(task)
        written.write(json.dumps(asdict(task.result())) + "\n")
        written.flush()

    started_s = planned_s = time.monotonic()
    for number in itertools.count():
        planned_s += -math.log(1.0 - random_numbers.random()) / plan.rps
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, planned_s - time.monotonic())):
                await stopped.wait()
        if stopped.is_set() or planned_s - started_s > plan.longest_s:
            break
        new = random_numbers.random() < plan.new_share
        user_id = f"new-{plan.seed}-{number}" if new else random_numbers.choice(plan.users)
        task = loop.create_task(client.ask(user_id, planned_s))
        under_way.add(task)
        task.add_done_callback(write)
    await asyncio.gather(*under_way)


def main(plan: Plan) -> None:
    """Write every answer as it comes."""
    with Path(plan.answers).open("w") as written:
        asyncio.run(run(plan, written))


if __name__ == "__main__":
    main(Plan(**json.loads(Path(sys.argv[1]).read_text())))
