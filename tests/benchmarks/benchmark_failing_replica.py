"""One of two replicas of a stage hangs (SIGSTOP) or raises: lost calls, by how the circuit judges.

    python tests/benchmarks/benchmark_failing_replica.py

Closed loop of 4 clients for 5 s after the fault, deadline 100 ms, no retries, over a real Ray Serve handle.
The circuit opens after five failures in a row, or by the share of the last 20 calls
(`CallSettings.judged_calls`). ``replica``: lost at the replica; ``left alone``: lost to the open circuit.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
import warnings
from typing import Any

import numpy as np

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.contracts.stages import MODEL_STAGES, RANKING, StageReply
from services.recommendations.pipeline.stage_calls import (
    CallSettings,
    GuardedCalls,
    StageRequest,
    StageSkippedError,
)
from streamrec.serving.deadline import Deadline
from streamrec.serving.retry_budget import RetryBudget

CLIENTS, SECONDS, DEADLINE_MS, TIMEOUT_MS = 4, 5.0, 100.0, 70.0
USER = UserState("u", Segment())
CANDIDATES = Candidates(("a", "b"), np.array([1.0, 0.5], dtype=np.float32))


def main() -> None:
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home folder
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "OMP_NUM_THREADS": "1",
    }
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    import ray
    from ray import serve

    from services.recommendations.serving import stage_messages
    from services.recommendations.serving.ray_stages import RayRanking

    @serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=16)
    class Stage:
        def __init__(self) -> None:
            self.raises = False

        async def process(self) -> int:
            return os.getpid()

        async def fail(self, process: int) -> None:
            self.raises = os.getpid() == process

        async def status(self) -> bytes:
            return b""

        async def answer(self, message: bytes) -> bytes:
            if self.raises:
                raise RuntimeError("this replica is broken")
            await asyncio.sleep(0.005)
            _, candidates, version = stage_messages.unpack_rank(message)
            return stage_messages.pack_reordered(StageReply(candidates, version), candidates)

    ray.init(log_to_driver=False, include_dashboard=False, num_cpus=2)
    try:
        handle = serve.run(Stage.bind(), route_prefix=None)
        print(
            f"{'one of two replicas':20} {'circuit judges':>15} {'calls':>7} {'lost':>7} "
            f"{'replica':>9} {'left alone':>11}"
        )
        asyncio.run(measure(handle, RayRanking(RANKING, handle)))
    finally:
        serve.shutdown()
        ray.shutdown()


async def measure(handle: Any, stage: Any) -> None:
    processes: set[int] = set()
    while len(processes) < 2:
        processes.add(await handle.process.remote())
    victim = min(processes)
    for judged_calls in (5, 20):
        await asyncio.gather(*(handle.fail.remote(victim) for _ in range(50)))
        await report("raises", judged_calls, stage)
        await asyncio.gather(*(handle.fail.remote(0) for _ in range(50)))
        os.kill(victim, signal.SIGSTOP)
        try:
            await report("hangs", judged_calls, stage)
        finally:
            os.kill(victim, signal.SIGCONT)
        await asyncio.sleep(1.0)


async def report(fault: str, judged_calls: int, stage: Any) -> None:
    settings = CallSettings(timeout_ms=dict.fromkeys(MODEL_STAGES, TIMEOUT_MS), judged_calls=judged_calls)
    calls = GuardedCalls(settings, RetryBudget(ratio=0.0, initial_retries=0.0), lambda *_: None)
    request = StageRequest(RANKING, lambda: stage.rank(USER, CANDIDATES, 1), lambda _candidates: None)
    lost: list[str] = []
    made = 0
    end_s = time.monotonic() + SECONDS

    async def client() -> None:
        nonlocal made
        while time.monotonic() < end_s:
            made += 1
            try:
                await calls(request, Deadline.after_ms(DEADLINE_MS))
            except StageSkippedError as error:
                lost.append(str(error))
                await asyncio.sleep(0.005)  # the rest of such a request takes its time too

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    left_alone = sum("circuit" in problem for problem in lost)
    judged = "5 in a row" if judged_calls == 5 else f"18 of {judged_calls}"
    shares = [len(lost) / made, (len(lost) - left_alone) / made, left_alone / made]
    print(f"{fault:20} {judged:>15} {made:7} {shares[0]:7.1%} {shares[1]:9.1%} {shares[2]:11.1%}")


if __name__ == "__main__":
    main()
