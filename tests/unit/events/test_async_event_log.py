"""The event log for an event loop: batches, a bound, and errors that reach who must hear of them."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from streamrec.contracts.errors import DependencyError, InvalidInputError, OverloadedError
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.async_event_log import AsyncEventLog
from streamrec.events.memory_event_log import MemoryEventLog

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def outcome(number: int, user_id: str = "u") -> Outcome:
    return Outcome(f"e{number}", user_id, "i", InteractionKind.CLICK, NOON, NOON)


class GatedLog(MemoryEventLog):
    """Writes only when told to, and remembers its calls."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.calls = []
        self.error = None

    def append(self, records, *, durable=True):
        assert self.gate.wait(10)
        self.calls.append((len(records), durable))
        if self.error is not None:
            raise self.error
        super().append(records, durable=durable)


def run(scenario, **options):
    async def main():
        log = GatedLog()
        asynchronous = AsyncEventLog(log, **options)
        try:
            await scenario(log, asynchronous)
        finally:
            log.gate.set()
            await asynchronous.close()

    asyncio.run(main())


def test_what_comes_in_during_a_write_shares_the_next_one():
    async def scenario(log, asynchronous):
        appends = [asyncio.create_task(asynchronous.append([outcome(n)])) for n in range(50)]
        await asyncio.sleep(0.01)
        log.gate.set()
        await asyncio.gather(*appends)
        assert sum(count for count, _ in log.calls) == 50
        assert len(log.calls) <= 2
        assert len(log.snapshot().outcomes) == 50

    run(scenario)


def test_the_queue_is_bounded_and_has_room_again_after_a_write():
    async def scenario(log, asynchronous):
        waiting = asyncio.create_task(asynchronous.append([outcome(1), outcome(2)]))
        await asyncio.sleep(0)
        asynchronous.enqueue([outcome(3)])
        with pytest.raises(OverloadedError, match="full"):
            asynchronous.enqueue([outcome(4)])
        with pytest.raises(OverloadedError):
            await asynchronous.append([outcome(4)])
        assert asynchronous.queued_records == 3
        log.gate.set()
        await waiting
        await asynchronous.append([outcome(5)])
        assert asynchronous.queued_records == 0
        assert [record.event_id for record in log.snapshot().outcomes] == ["e1", "e2", "e3", "e5"]

    run(scenario, maximum_queued_records=3)


def test_an_append_waits_until_it_is_written():
    async def scenario(log, asynchronous):
        waiting = asyncio.create_task(asynchronous.append([outcome(1)]))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        log.gate.set()
        await waiting
        assert log.calls == [(1, True)]

    run(scenario)


def test_a_batch_is_durable_if_anyone_in_it_asks():
    async def scenario(log, asynchronous):
        asynchronous.enqueue([outcome(1)])
        await asyncio.sleep(0.01)
        asynchronous.enqueue([outcome(2)])
        waiting = asyncio.create_task(asynchronous.append([outcome(3)]))
        await asyncio.sleep(0.01)
        log.gate.set()
        await waiting
        assert log.calls in ([(3, True)], [(1, False), (2, True)])

    run(scenario)


def test_one_bad_record_does_not_cost_the_others_theirs():
    async def scenario(log, asynchronous):
        results = [
            asyncio.create_task(asynchronous.append([outcome(number, user_id="" if number == 1 else "u")]))
            for number in range(3)
        ]
        await asyncio.sleep(0.01)
        log.gate.set()
        answers = await asyncio.gather(*results, return_exceptions=True)
        assert isinstance(answers[1], InvalidInputError)
        assert [answers[0], answers[2]] == [None, None]
        assert [record.event_id for record in log.snapshot().outcomes] == ["e0", "e2"]

    run(scenario)


@pytest.mark.parametrize("error", [DependencyError("disk full"), RuntimeError("surprise")])
def test_a_failure_reaches_all_who_wait_and_the_next_batch_gets_its_turn(error):
    async def scenario(log, asynchronous):
        log.error = error
        log.gate.set()
        answers = await asyncio.gather(
            *(asynchronous.append([outcome(n)]) for n in range(3)), return_exceptions=True
        )
        assert answers == [error] * 3
        asynchronous.enqueue([outcome(9), outcome(10)])
        with pytest.raises(type(error)):
            await asynchronous.append([outcome(11)])
        assert asynchronous.lost_records == 2
        log.error = None
        await asynchronous.append([outcome(4)])
        assert [record.event_id for record in log.snapshot().outcomes] == ["e4"]

    run(scenario)


def test_a_cancelled_caller_does_not_stop_the_others():
    async def scenario(log, asynchronous):
        first = asyncio.create_task(asynchronous.append([outcome(1)]))
        second = asyncio.create_task(asynchronous.append([outcome(2)]))
        await asyncio.sleep(0.01)
        first.cancel()
        log.gate.set()
        await second
        assert [record.event_id for record in log.snapshot().outcomes] == ["e1", "e2"]

    run(scenario)


def test_closing_writes_what_is_queued_and_refuses_the_rest():
    async def scenario(log, asynchronous):
        asynchronous.enqueue([outcome(1)])
        log.gate.set()
        await asynchronous.close()
        assert len(log.snapshot().outcomes) == 1
        with pytest.raises(OverloadedError, match="closing"):
            await asynchronous.append([outcome(2)])

    run(scenario)


def test_a_close_that_is_cancelled_leaves_nobody_waiting_and_loses_nothing():
    async def main():
        log = GatedLog()
        asynchronous = AsyncEventLog(log)
        waiting = [asyncio.create_task(asynchronous.append([outcome(n)])) for n in range(3)]
        await asyncio.sleep(0)
        asynchronous.enqueue([outcome(3)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asynchronous.close(), 0.01)
        log.gate.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        await asynchronous.close()
        assert len(log.snapshot().outcomes) == 4
        assert (asynchronous.lost_records, asynchronous.queued_records) == (0, 0)

    asyncio.run(main())


def test_an_event_loop_that_is_torn_down_tells_who_waits_and_counts_what_is_lost():
    async def main():
        log = GatedLog()
        asynchronous = AsyncEventLog(log)
        under_way = asyncio.create_task(asynchronous.append([outcome(1)]))
        await asyncio.sleep(0.01)
        queued = asyncio.create_task(asynchronous.append([outcome(2)]))
        asynchronous.enqueue([outcome(3), outcome(4)])
        await asyncio.sleep(0)
        (drainer,) = asyncio.all_tasks() - {asyncio.current_task(), under_way, queued}
        drainer.cancel()
        log.gate.set()
        answers = await asyncio.wait_for(asyncio.gather(under_way, queued, return_exceptions=True), 5)
        assert [type(answer) for answer in answers] == [DependencyError, DependencyError]
        assert (asynchronous.lost_records, asynchronous.queued_records) == (2, 0)
        await asynchronous.close()

    asyncio.run(main())
