"""Three empty stages behind a gateway, with Ray's defaults, the throughput settings, and those with HAProxy.

    python tests/benchmarks/benchmark_ingress.py

One process each, one after the other; closed loop of 1, 2 and 4 clients. Latencies in ms: p50, p95, p99.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

CLIENTS, REQUESTS_PER_CLIENT, WARM_UP, PORT = (1, 2, 4), 200, 40, 8311
THROUGHPUT = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
MODES = {
    "defaults": {},
    "throughput": THROUGHPUT,
    "throughput, HAProxy": {**THROUGHPUT, "RAY_SERVE_ENABLE_HA_PROXY": "1"},
}
URL = f"http://127.0.0.1:{PORT}/"


def main() -> None:
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    for mode, settings in MODES.items():
        with tempfile.TemporaryDirectory(prefix="ingress-") as folder:
            haproxy = {
                "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
                "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
                "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
                "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
                "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
                "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "2",
            }
            common = {"RAY_SERVE_LOG_TO_STDERR": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
            environment = os.environ | common | haproxy | settings
            subprocess.run([sys.executable, str(Path(__file__)), mode], env=environment, check=True)


def measure(mode: str) -> None:
    import ray
    from fastapi import FastAPI
    from ray import serve

    app = FastAPI()
    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.1}, "max_ongoing_requests": 16}

    @serve.deployment(**options)
    class Stage:
        async def __call__(self, item_ids: tuple[str, ...]) -> tuple[str, ...]:
            return item_ids

    @serve.deployment(**options)
    @serve.ingress(app)
    class Gateway:
        def __init__(self, *stages: Any) -> None:
            self.stages = stages

        @app.post("/")
        async def answer(self) -> int:
            item_ids = tuple(map(str, range(500)))
            for stage in self.stages:
                item_ids = await stage.remote(item_ids)
            return len(item_ids)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Gateway.bind(*(Stage.options(name=name).bind() for name in ("first", "second", "third"))))
    wait_until_it_answers()
    for clients in CLIENTS:
        asyncio.run(drive(clients, WARM_UP))
        latencies_ms = asyncio.run(drive(clients, REQUESTS_PER_CLIENT))
        p50, p95, p99 = np.percentile(latencies_ms, (50, 95, 99))
        print(f"{mode:22} {clients} clients   {p50:6.1f} {p95:6.1f} {p99:6.1f}", flush=True)
    serve.shutdown()
    ray.shutdown()


def wait_until_it_answers() -> None:
    deadline_s = time.monotonic() + 60.0
    while time.monotonic() < deadline_s:
        try:
            if httpx.post(URL).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the graph did not answer within 60 s")


async def drive(clients: int, requests: int) -> list[float]:
    latencies_ms: list[float] = []

    async def client(http: httpx.AsyncClient) -> None:
        for _ in range(requests):
            start_s = time.perf_counter()
            (await http.post(URL)).raise_for_status()
            latencies_ms.append((time.perf_counter() - start_s) * 1000.0)

    async with httpx.AsyncClient() as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return latencies_ms


if __name__ == "__main__":
    main()
