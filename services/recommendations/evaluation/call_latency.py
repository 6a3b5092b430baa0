"""Timing one call on one core, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from streamrec.contracts.errors import InvalidInputError
from streamrec.training.model_card import CallLatency

WARM_UP_CALLS: Final = 5

T = TypeVar("T")


def time_calls(
    description: str,
    call: Callable[[T], Any],
    inputs: Sequence[T],
    *,
    clock: Callable[[], float] = time.thread_time,
) -> CallLatency:
    """Call once per input, one after the other, with one thread in every numerical library.

    The first `WARM_UP_CALLS` inputs are called once more before the clock runs, so that what is loaded late
    is loaded. What is counted is the processor time of this thread, which on an idle core is the elapsed
    time: on a machine that does other work too, elapsed time would be that of the machine.

    Raises:
        InvalidInputError: There are no inputs.
    """
    if not inputs:
        raise InvalidInputError("inputs", "nothing to call: a latency of no calls is not a figure")
    elapsed_s = np.empty(len(inputs))
    with threadpool_limits(limits=1):
        for value in inputs[:WARM_UP_CALLS]:
            call(value)
        for position, value in enumerate(inputs):
            start_s = clock()
            call(value)
            elapsed_s[position] = clock() - start_s
    median_ms, p99_ms = np.percentile(elapsed_s * 1000.0, [50, 99])
    return CallLatency(description, len(inputs), float(median_ms), float(p99_ms))


def latency_json(latency: CallLatency) -> dict[str, Any]:
    """``call``, ``count``, ``median_ms`` and ``p99_ms``."""
    return {
        "call": latency.call,
        "count": latency.count,
        "median_ms": latency.median_ms,
        "p99_ms": latency.p99_ms,
    }
