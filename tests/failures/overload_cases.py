"""Case 23 of what the platform must survive: 2 to 5 times what the service can do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import numpy as np

from services.recommendations.load_tests.recording import Recording
from services.recommendations.load_tests.schedule import LoadSettings
from tests.failures.load import Answers, Load
from tests.failures.open_loop_client import Answer
from tests.failures.services import recovered_after_s

DEADLINE_MS: Final = 100.0
LATE_MS: Final = 10.0
REFUSED_MS: Final = 50.0
GOODPUT_SHARE: Final = 0.9
SUSTAINED_SHARE: Final = 0.99
NORMAL_S: Final = 10.0
USUAL_RPS: Final = 30.0
FIRST_RPS: Final = 40.0
WARM_UP_S: Final = 2.0
GENERATOR_START_S: Final = 2.0

LoadOnIt = Callable[..., AbstractContextManager[Load]]
"""Makes a load on the service; takes ``rps``."""

Offered = Callable[[float, float], Answers]
"""Takes requests a second and seconds, and returns the answers."""


@dataclass(frozen=True)
class Overload:
    """What clients saw.

    Attributes:
        accepted: The answers that are 200.
        refused: Those that are 503.
        goodput_rps: Answers in time, a second.
        normal_s: Seconds after it until the service answered in full again.
    """

    accepted: Answers
    refused: Answers
    goodput_rps: float
    normal_s: float


def goodput_rps(answers: Answers, for_s: float) -> float:
    """Answers a second that are 200 and in time."""
    return sum(answer.ok and answer.latency_ms <= DEADLINE_MS + LATE_MS for answer in answers.all) / for_s


def capacity_rps(offered: Offered, for_s: float, step: float = 1.2) -> float:
    """The highest rate that is answered in time and in full; one that is too much has to be so twice."""
    best, rps = 0.0, FIRST_RPS
    while any(_sustained(offered, rps, for_s) for _ in range(2)):
        best, rps = rps, rps * step
    assert best, f"{rps:.0f} requests a second are too much already"
    return best


def _sustained(offered: Offered, rps: float, for_s: float) -> bool:
    answers = offered(rps, for_s)
    print(f"\n  {rps:.0f} rps: {answers.said()}", end="")
    in_full = sum(answer.ok and not answer.degraded for answer in answers.all) / len(answers)
    return in_full >= SUSTAINED_SHARE and answers.percentile_ms(99) <= DEADLINE_MS


def generated(port: int, folder: Path) -> Offered:
    """A load of the generator of the load tests, which keeps up with thousands of requests a second.

    The time of an answer counts from when its request was sent: the generator shares its cores with the
    service, and says how late it was.
    """
    file = folder / "recording.npz"

    def offered(rps: float, for_s: float) -> Answers:
        load = LoadSettings(rps=rps, duration_s=for_s, warm_up_s=WARM_UP_S, event_share=0.0, patience_s=5.0)
        start_s = time.monotonic() + GENERATOR_START_S
        asked = json.dumps({"port": port, "start_s": start_s, "load": load.to_json()})
        module = "services.recommendations.load_tests.generator"
        subprocess.run([sys.executable, "-m", module, asked, str(file)], check=True)
        seen = Recording.read(file)
        late_ms = float(np.percentile((seen.sent_s - seen.times_s) * 1000.0, 99))
        print(f"\n  the generator was late by {late_ms:.0f} ms at the 99th percentile", end="")
        return Answers(
            [
                Answer(
                    start_s + sent_s,
                    (done_s - sent_s) * 1000.0,
                    int(status),
                    items=int(status == HTTPStatus.OK),
                    degraded=bool(degraded),
                )
                for sent_s, done_s, status, degraded in zip(
                    seen.sent_s, seen.done_s, seen.status, seen.degraded, strict=True
                )
            ]
        ).between(start_s + WARM_UP_S)

    return offered


def of_client(load_on_it: LoadOnIt) -> Offered:
    """A load of the client of the other cases, its first seconds left out."""

    def offered(rps: float, for_s: float) -> Answers:
        with load_on_it(rps=rps) as load:
            time.sleep(WARM_UP_S)
            began_s = time.monotonic()
            time.sleep(for_s)
            return load.finish().between(began_s, began_s + for_s)

    return offered


def overload(
    load_on_it: LoadOnIt, offered: Offered, rps: float, for_s: float, look_s: float = NORMAL_S
) -> Overload:
    """Offer too much beside the usual load, and look when the usual load is answered in full again."""
    with load_on_it(rps=USUAL_RPS) as usual:
        answers = offered(rps, for_s)
        ended_s = time.monotonic()
        time.sleep(look_s)
        normal_s = recovered_after_s(usual.finish(), ended_s)
    statuses = {answer.status for answer in answers.all}
    assert statuses <= {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}, statuses
    seen = Overload(
        Answers([answer for answer in answers.all if answer.ok]),
        Answers([answer for answer in answers.all if answer.status == HTTPStatus.SERVICE_UNAVAILABLE]),
        goodput_rps(answers, for_s),
        normal_s,
    )
    print(f"\n  accepted at {rps:.0f} rps: {seen.accepted.said()}, goodput {seen.goodput_rps:.0f} rps")
    if seen.refused.all:
        print(f"  refused: {len(seen.refused)}, p99 {seen.refused.percentile_ms(99, of_all=True):.0f} ms")
    print(f"  normal after {normal_s:.0f} s")
    return seen


def check(seen: Overload, capacity: float) -> None:
    """The bars of the case."""
    assert len(seen.refused) > 0
    assert seen.refused.percentile_ms(99, of_all=True) <= REFUSED_MS
    assert seen.accepted.percentile_ms(99) <= DEADLINE_MS + LATE_MS
    assert seen.goodput_rps >= GOODPUT_SHARE * capacity
    assert seen.normal_s < NORMAL_S
