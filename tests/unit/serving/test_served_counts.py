from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamrec.contracts.errors import DependencyError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.serving.counting.served_counts import AskedOutcome, CountedUnder, ServedCounts
from streamrec.serving.counting.tally_writer import TallyWriter

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAMPION = CountedUnder("shop.ranking", ServingRole.CHAMPION, ModelRef("ranking", 1), "trial", 1_000)
CHALLENGER = CHAMPION._replace(role=ServingRole.CHALLENGER, version=ModelRef("ranking", 2))


def rows(counts):
    return {(row.role, row.weight_bp): row.answers for row in counts.tally(lambda: NOW).rows}


def test_every_request_is_counted_once_under_what_came_of_it():
    counts = ServedCounts("server")
    counts.count(CHALLENGER, AskedOutcome.ANSWERED, 1.0)
    counts.count(CHALLENGER, AskedOutcome.ANSWERED, 1.0, degraded=True)
    counts.count(CHALLENGER, AskedOutcome.ANSWERED, 50.0, disagreed=True)
    for outcome in (AskedOutcome.FAILED, AskedOutcome.MALFORMED, AskedOutcome.LATE):
        counts.count(CHALLENGER, outcome)
    answers = rows(counts)[ServingRole.CHALLENGER, 1_000]
    assert (answers.asked, answers.wrong) == (6, 3)
    assert (answers.failed, answers.malformed, answers.late) == (1, 1, 1)
    assert (answers.degraded, answers.disagreed) == (1, 1)
    assert sum(answers.latency.values()) == 3
    assert answers.slower_than(25.0) == 1


def test_who_was_not_asked_is_not_counted():
    counts = ServedCounts("server")
    counts.count(CHALLENGER, AskedOutcome.NOT_ASKED)
    assert counts.tally(lambda: NOW).rows == ()
    assert counts.counted == 0


def test_steps_and_roles_are_counted_apart():
    counts = ServedCounts("server")
    counts.count(CHAMPION, AskedOutcome.ANSWERED)
    counts.count(CHALLENGER, AskedOutcome.ANSWERED)
    counts.count(CHALLENGER._replace(weight_bp=5_000), AskedOutcome.ANSWERED)
    assert {key: answers.asked for key, answers in rows(counts).items()} == {
        (ServingRole.CHAMPION, 1_000): 1,
        (ServingRole.CHALLENGER, 1_000): 1,
        (ServingRole.CHALLENGER, 5_000): 1,
    }


def test_rows_are_bounded_and_those_that_nobody_held_go_first():
    counts = ServedCounts("server", maximum_rows=2)
    free = CHAMPION._replace(holder=None, weight_bp=0)
    counts.count(CHAMPION, AskedOutcome.ANSWERED)
    counts.count(free, AskedOutcome.ANSWERED)
    counts.count(CHALLENGER, AskedOutcome.ANSWERED)
    kept = {row.holder for row in counts.tally(lambda: NOW).rows}
    assert kept == {"trial"}
    counts.count(CHALLENGER._replace(weight_bp=5_000), AskedOutcome.ANSWERED)
    assert (ServingRole.CHAMPION, 1_000) not in rows(counts)


class Sink:
    def __init__(self) -> None:
        self.written = []
        self.error = None

    def write(self, tally) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(tally)


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_what_is_new_is_written_and_the_last_of_it_at_the_end(sink):
    counts, clock = ServedCounts("server"), [0.0]
    writer = TallyWriter(counts, sink, clock=lambda: clock[0], now=lambda: NOW)
    writer.write_if_due()
    writer.write_if_due()
    assert len(sink.written) == 1  # nothing is new, and the last one is not old
    counts.count(CHAMPION, AskedOutcome.ANSWERED)
    writer.write_if_due()
    assert sink.written[-1].rows[0].answers.asked == 1
    clock[0] = 60.0
    writer.write_if_due()
    assert len(sink.written) == 3  # the time in it says that the process is there
    counts.count(CHAMPION, AskedOutcome.ANSWERED)
    writer.stop()
    assert sink.written[-1].rows[0].answers.asked == 2
    writer.stop()
    assert len(sink.written) == 4


def test_what_could_not_be_written_is_written_later(sink, caplog):
    counts = ServedCounts("server")
    writer = TallyWriter(counts, sink, clock=lambda: 0.0, now=lambda: NOW)
    counts.count(CHAMPION, AskedOutcome.ANSWERED)
    sink.error = DependencyError("the disk is full")
    writer.write_if_due()
    writer.write_if_due()
    assert caplog.text.count("the disk is full") == 1
    sink.error = None
    writer.write_if_due()
    assert sink.written[-1].rows[0].answers.asked == 1
