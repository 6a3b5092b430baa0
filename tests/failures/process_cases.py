"""Cases 1 to 5 of what the platform must survive: kill -9 of a process under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from services.recommendations.contracts.stages import RANKING
from services.recommendations.serving.application import GATEWAY
from tests.failures.load import Answers
from tests.failures.parts import CONTROLLER, PROXY_MANAGER, frozen, kill_9, processes, proxies
from tests.failures.services import BreakableService, recovered_after_s, settle

FULL_STRENGTH_S = 10.0
PROXY_OUTAGE_S = 5.0
UNDER_WAY_S = 0.3
FALLBACK_MS = 110.0
"""The service's deadline, and the way to the client and back."""


@dataclass(frozen=True)
class Outcome:
    """What clients saw.

    Attributes:
        before: Answers to requests of before the kill.
        after: Answers to those of after it.
        recovered_s: Seconds until the service answered in full again.
    """

    before: Answers
    after: Answers
    recovered_s: float

    @property
    def fallbacks(self) -> Answers:
        """Those of ``after`` that a stage is missing from."""
        return Answers([answer for answer in self.after.all if answer.degraded])


def killed(
    service: BreakableService, find: Callable[[], Collection[int]], before_s: float, frozen_s: float = 0.0
) -> Outcome:
    """Kill processes after some seconds of load, and wait until the service is whole again.

    Args:
        service: Whose they are.
        find: Returns their ids as they are then: a proxy that another one has followed ends by itself.
        before_s: How long the load has been on.
        frozen_s: How long they are stopped first, so that they die with requests under way.
    """
    with service.load() as load:
        service.warm_up()
        begin_s = time.monotonic()
        time.sleep(before_s)
        pids = find()
        with frozen(pids):
            time.sleep(frozen_s)
            killed_s = kill_9(pids)
        settle(service, load, killed_s)
        answers = load.finish()
    ended_s = killed_s - frozen_s
    before, after = answers.between(begin_s, ended_s), answers.between(ended_s)
    recovered_s = recovered_after_s(after, killed_s)
    print(f"\n  before: {before.said()}\n  after: {after.said()}\n  in full after {recovered_s:.1f} s")
    return Outcome(before, after, recovered_s)


def one_of_two_rankers(service: BreakableService, before_s: float) -> Outcome:
    """Case 1, but for the 99th percentile, which takes a longer look than some callers have."""
    outcome = killed(service, lambda: {min(service.replicas(RANKING))}, before_s)
    assert outcome.after.failed == []
    assert outcome.recovered_s <= FULL_STRENGTH_S
    return outcome


def one_of_two_gateways(service: BreakableService, before_s: float) -> Outcome:
    """Case 2: the proxy sends once more what the gateway had under way."""
    outcome = killed(service, lambda: {min(service.replicas(GATEWAY))}, before_s, UNDER_WAY_S)
    assert outcome.after.failed == []
    return outcome


def all_rankers(service: BreakableService, before_s: float) -> Outcome:
    """Case 3."""
    outcome = killed(service, lambda: service.replicas(RANKING), before_s)
    assert outcome.after.failed == []
    assert len(outcome.fallbacks) > 0
    assert outcome.recovered_s <= FULL_STRENGTH_S
    return outcome


def controller(service: BreakableService, before_s: float) -> Outcome:
    """Case 4."""
    outcome = killed(service, lambda: processes(service.running, CONTROLLER), before_s)
    assert outcome.after.failed == []
    return outcome


def proxy(service: BreakableService, before_s: float) -> Outcome:
    """Case 5 with one proxy: the process that connections go through."""
    return _proxy_is_replaced(killed(service, lambda: proxies(service.running), before_s))


def proxy_manager(service: BreakableService, before_s: float) -> Outcome:
    """Case 5 with one proxy: the actor that looks after it."""
    return _proxy_is_replaced(killed(service, lambda: processes(service.running, PROXY_MANAGER), before_s))


def _proxy_is_replaced(outcome: Outcome) -> Outcome:
    begin_s = outcome.after.all[0].planned_s
    late = [answer for answer in outcome.after.not_ok if answer.planned_s - begin_s > PROXY_OUTAGE_S]
    assert late == []
    return outcome
