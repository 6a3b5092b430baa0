"""Times how long a version takes for one request, and what the machine itself was like meanwhile.

A time is that on the clock less what the process waited for a free core, which the kernel counts
(``/proc/self/schedstat``, Linux's ``Documentation/scheduler/sched-stats.rst``): computing and waiting for
anything else are the version's own, other processes are not.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from streamrec.gates.programs.loading import REQUESTS, load_predictor

_REFERENCE_LOOPS: Final = 4_000
"""About a tenth of a millisecond of plain computing."""

_NS_PER_MS: Final = 1e6


def time_requests(arguments: Mapping[str, Any], inputs: Mapping[str, Path], output: Path) -> dict[str, Any]:  # noqa: ARG001 - port
    """Ask one request after another.

    Args:
        arguments: ``predictor``; ``warm_up``: requests that are not counted; ``at_least`` and ``at_most`` so
            many are counted, within ``seconds`` where that is between the two.
        inputs: As for `predict`.
        output: Gets nothing.

    Returns:
        ``times_ms``: of each request; ``reference_ms``: of the same small computation after each of them;
        ``queued_ms``: what the process waited for a core in all, which is in neither.
    """
    table = pd.read_parquet(inputs[REQUESTS])
    predictor = load_predictor(arguments["predictor"], inputs)
    single = [table.iloc[[row]].reset_index(drop=True) for row in range(len(table))]
    for number in range(arguments["warm_up"]):
        predictor.predict(single[number % len(single)])
    times_ms, reference_ms = [], []
    gc.collect()
    queued_before_ns = _queued_ns()
    ends = time.perf_counter() + arguments["seconds"]
    for number in range(arguments["at_most"]):
        request = single[number % len(single)]
        times_ms.append(_own_ms(lambda request=request: predictor.predict(request)))  # type: ignore[misc]
        reference_ms.append(_own_ms(_reference))
        if time.perf_counter() > ends and number + 1 >= arguments["at_least"]:
            break
    queued_ms = (_queued_ns() - queued_before_ns) / _NS_PER_MS
    return {"times_ms": times_ms, "reference_ms": reference_ms, "queued_ms": queued_ms}


def _own_ms(work: Callable[[], object]) -> float:
    queued_ns, began_ns = _queued_ns(), time.perf_counter_ns()
    work()
    took_ns = time.perf_counter_ns() - began_ns - (_queued_ns() - queued_ns)
    return max(took_ns, 1_000) / _NS_PER_MS


def _queued_ns() -> int:
    """What this process has waited for a core so far; 0 where the kernel does not count it."""
    try:
        descriptor = os.open("/proc/self/schedstat", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 100).split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    finally:
        os.close(descriptor)


def _reference() -> int:
    total = 0
    for number in range(_REFERENCE_LOOPS):
        total += number
    return total
