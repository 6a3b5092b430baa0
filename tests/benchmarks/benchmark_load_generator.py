"""What the load generator itself costs, against a server that answers at once with an answer as long as ours.

    python tests/benchmarks/benchmark_load_generator.py

Server and generator are processes of their own, as in a load test. "late" is how long after its planned time
a request was sent: on a machine that does nothing else it is a fraction of a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from services.recommendations.load_tests.recording import Recording
from services.recommendations.load_tests.redis_server import free_port
from services.recommendations.load_tests.schedule import LoadSettings

RATES_RPS, DURATION_S = (60.0, 300.0, 1_000.0), 6.0
ITEMS = [{"item_id": f"item-{n:07d}", "position": n, "score": 0.123456789 * n} for n in range(20)]
STAGES_MS = {"features": 1.123, "retrieval": 1.234, "ranking": 1.345, "reranking": 0.789}
ANSWER = {"request_id": "0" * 36, "items": ITEMS, "rung": "ranked", "degraded": False, "stages_ms": STAGES_MS}
BODY = json.dumps(ANSWER).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            writer.write(HEAD + BODY)
    except asyncio.IncompleteReadError:
        writer.close()


async def serve(port: int) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(serve(int(sys.argv[1])))
        return
    port = free_port()
    server = subprocess.Popen([sys.executable, __file__, str(port)])
    try:
        time.sleep(1.5)
        print(f"{'rps':>6} {'CPU ms':>8} {'late p50':>9} {'late p99':>9} {'wait p50':>9} {'wait p99':>9}  ms")
        for rps in RATES_RPS:
            show(rps, load(port, rps))
    finally:
        server.terminate()
        server.wait()


def load(port: int, rps: float) -> Recording:
    settings = LoadSettings(rps=rps, duration_s=DURATION_S, warm_up_s=0.0)
    asked = {"port": port, "start_s": time.monotonic() + 1.5, "load": settings.to_json()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording.npz"
        command = ["-m", "services.recommendations.load_tests.generator", json.dumps(asked), str(file)]
        subprocess.run([sys.executable, *command], check=True)
        return Recording.read(file)


def show(rps: float, seen: Recording) -> None:
    late_ms, wait_ms = (1000.0 * (at - seen.times_s) for at in (seen.sent_s, seen.done_s))
    figures = [1000.0 * seen.process_cpu_s / len(late_ms)]
    for values in (late_ms, wait_ms):
        figures += np.percentile(values, [50.0, 99.0]).tolist()
    assert (seen.status == 200).all()
    print(f"{rps:>6.0f} {figures[0]:>8.3f} " + " ".join(f"{figure:>9.3f}" for figure in figures[1:]))


if __name__ == "__main__":
    main()
