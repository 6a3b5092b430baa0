from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event

import pyarrow as pa
import pytest

from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.rollouts.evidence import UnitSums
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Holdback, SlotTraffic, assigned
from streamrec.metrics.computation import compute
from streamrec.rollout.outcomes import Arms, ArmSegments, EventOutcomes, OutcomeQuestion
from tests.made_rollouts import ref
from tests.unit.metrics.workplace import CATALOGUE, CLICKS, END, FIRST, a_source, memory_log, some_events

ARMS = Arms("salt-1", 4_000, "salt-1.holdback", 2_000)
QUESTION = OutcomeQuestion("click_rate", ARMS, FIRST, END)


def test_arms_are_those_of_the_traffic_document():
    held = Holdback(ref("ranker@1"), 2_000, "salt-1.holdback", END)
    slot = SlotTraffic(ref("ranker@1"), ref("ranker@2"), 4_000, 0, "salt-1", "r-1", None, held)
    units = [f"u{number}" for number in range(500)]
    assert [ARMS.of(unit) for unit in units] == [assigned(slot, unit)[0] for unit in units]
    told = ArmSegments(ARMS).values("rollout_arm", pa.array(units)).to_pylist()
    assert told == [ARMS.of(unit).value for unit in units]
    with pytest.raises(InvalidInputError, match="rollout_arm"):
        ArmSegments(ARMS).values("country", pa.array(units))


def test_sums_are_those_of_the_units_of_each_arm_alone():
    records = some_events(3)
    found = EventOutcomes(CATALOGUE, a_source(memory_log(records))).by_arm(QUESTION, END)
    assert set(found) == {ServingRole.CHAMPION, ServingRole.CHALLENGER, ServingRole.HOLDBACK}
    for role, sums in found.items():
        own = [record for record in records if ARMS.of(record.unit) is role]
        figures = compute(
            CLICKS,
            CATALOGUE,
            a_source(memory_log(own)),
            start=FIRST,
            end=END,
            now=END,
            progress=SilentProgress(),
        )
        moments = figures.figures[0].statistics.moments
        assert sums == UnitSums(moments.units, moments.x, moments.y, moments.xx, moments.xy, moments.yy)
        assert sums.x <= sums.y  # clicked slates of all slates


class Counted:
    """A log that says how often it was read, and may fail."""

    def __init__(self, log):
        self._log, self.looks, self.error = log, 0, None

    def extent(self):
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self._log.extent()

    def table(self, *arguments):
        return self._log.table(*arguments)


def test_the_log_is_read_once_a_minute_and_less_often_for_a_step_that_has_ended():
    log = Counted(memory_log(some_events(3)))
    outcomes = EventOutcomes(CATALOGUE, a_source(log))
    in_force = replace(QUESTION, end=None)
    for seconds in (0, 1, 59, 60, 61, 119):
        outcomes.by_arm(in_force, END + timedelta(seconds=seconds))
    assert log.looks == 2
    for seconds in (0, 59, 61, 599, 600):
        outcomes.by_arm(QUESTION, END + timedelta(seconds=seconds))
    assert log.looks == 4


def test_a_log_that_cannot_be_read_is_an_error_until_it_can():
    log = Counted(memory_log(some_events(3)))
    outcomes = EventOutcomes(CATALOGUE, a_source(log))
    log.error = DependencyError("the disk is gone")
    for _ in range(2):
        with pytest.raises(DependencyError, match="gone"):
            outcomes.by_arm(QUESTION, END)
    log.error = None
    assert outcomes.by_arm(QUESTION, END + timedelta(minutes=10))


def test_nobody_waits_for_a_log_that_is_read_aside():
    log = Counted(memory_log(some_events(3)))
    hold = Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(hold.wait)
        outcomes = EventOutcomes(CATALOGUE, a_source(log), executor)
        assert outcomes.by_arm(QUESTION, END) is None
        assert log.looks == 0
        hold.set()
        executor.submit(lambda: None).result()
        assert outcomes.by_arm(QUESTION, END)


def test_before_the_step_began_there_is_nothing():
    outcomes = EventOutcomes(CATALOGUE, a_source(memory_log(some_events(3))))
    assert outcomes.by_arm(QUESTION, FIRST - timedelta(hours=1)) == {}


@pytest.mark.parametrize(
    ("metric", "problem"),
    [("click_rat", "click_rate"), ("latency_p99_ms", "quantile"), ("degraded_rate", "less is better")],
)
def test_a_metric_that_no_rollout_can_be_decided_by_is_refused(metric, problem):
    outcomes = EventOutcomes(CATALOGUE, a_source(memory_log([])))
    outcomes.check("click_rate")
    with pytest.raises(InvalidInputError, match=problem):
        outcomes.check(metric)
