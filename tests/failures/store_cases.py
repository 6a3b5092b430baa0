"""Cases 6 and 7 of what the platform must survive: the stores behind the service stop, or freeze."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.failures.load import Answers
from tests.failures.services import BreakableService, recovered_after_s, settle

CIRCUIT_OPEN_S: Final = 1.0
RECOVERED_S: Final = 5.0
MORE_MS: Final = 60.0
AT_ONCE_MS: Final = 20.0
"""A gateway that has given up waiting for the store goes on without it sooner than this."""


@dataclass(frozen=True)
class Outage:
    """What clients saw.

    Attributes:
        before: Answers to requests of before it.
        during: To those of while the store was gone, the first second left out.
        first_second: To those.
        recovered_s: From when the store was back until the service answered in full.
    """

    before: Answers
    first_second: Answers
    during: Answers
    recovered_s: float


def outage(
    service: BreakableService,
    end: Callable[[], None],
    back: Callable[[], None],
    before_s: float,
    for_s: float,
) -> Outage:
    """Take the online store away and bring it back, under the load of users whom no cache holds."""
    with service.load(new_share=1.0) as load:
        service.warm_up()
        begin_s = time.monotonic()
        time.sleep(before_s)
        ended_s = time.monotonic()
        end()
        try:
            time.sleep(for_s)
        finally:
            back_s = time.monotonic()
            back()
        settle(service, load, back_s)
        answers = load.finish()
    recovered_s = recovered_after_s(answers, back_s)
    seen = Outage(
        answers.between(begin_s, ended_s),
        answers.between(ended_s, ended_s + CIRCUIT_OPEN_S),
        answers.between(ended_s + CIRCUIT_OPEN_S, back_s),
        recovered_s,
    )
    for name in ("before", "first_second", "during"):
        print(f"\n  {name}: {getattr(seen, name).said()}", end="")
    print(f"\n  in full {recovered_s:.1f} s after the store was back")
    return seen


def check(seen: Outage) -> None:
    """No 5xx, nobody waits for a store that is known to be gone, and all is well soon after it is back."""
    assert [answer for part in (seen.first_second, seen.during) for answer in part.failed] == []
    assert seen.during.degraded_share() > 0.9, "the store was not gone"
    # Now and then one request asks whether the store is back.
    at_once = sum(answer.features_ms <= AT_ONCE_MS for answer in seen.during.all)
    assert at_once >= 0.8 * len(seen.during)
    assert seen.recovered_s <= RECOVERED_S


def redis_stops(service: BreakableService, before_s: float, for_s: float) -> Outage:
    """Case 6, first half."""
    seen = outage(service, service.redis.stop, service.redis.start, before_s, for_s)
    check(seen)
    return seen


def redis_freezes(service: BreakableService, before_s: float, for_s: float) -> Outage:
    """Case 6, second half: connections stand, and nothing comes."""
    seen = outage(service, service.redis.freeze, service.redis.thaw, before_s, for_s)
    check(seen)
    return seen
