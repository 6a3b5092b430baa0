"""Calls that are shared, and never older than the wish for them."""

from __future__ import annotations

import asyncio

import pytest

from streamrec.serving.single_flight import SingleFlight


class Source:
    """Holds a value; a call takes what is there when it begins, and as long as the test wants."""

    def __init__(self):
        self.value, self.calls, self.gate = 0, 0, asyncio.Event()
        self.error = None

    async def read(self):
        self.calls += 1
        value, error = self.value, self.error
        await self.gate.wait()
        if error is not None:
            raise error
        return value


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_comes_during_a_call_shares_the_next_one_and_sees_what_changed():
    async def act():
        source, flight = Source(), SingleFlight()
        first = asyncio.create_task(flight("u", source.read))
        await settle()
        source.value = 1
        later = [asyncio.create_task(flight("u", source.read)) for _ in range(10)]
        await settle()
        assert source.calls == 1
        source.gate.set()
        results = await asyncio.gather(first, *later)
        source.value = 2
        return results, await flight("u", source.read), source.calls

    assert asyncio.run(act()) == ([0, *[1] * 10], 2, 3)


def test_keys_do_not_wait_for_each_other():
    async def act():
        held, free, flight = Source(), Source(), SingleFlight()
        free.gate.set()
        waiting = asyncio.create_task(flight("a", held.read))
        await settle()
        result = await flight("b", free.read)
        assert not waiting.done()
        held.gate.set()
        await waiting
        return result

    assert asyncio.run(act()) == 0


def test_an_error_is_everybodys_who_shared_it_and_the_next_call_begins_anew():
    async def act():
        source, flight = Source(), SingleFlight()
        first = asyncio.create_task(flight("u", source.read))
        await settle()
        source.error = OSError("down")
        later = [asyncio.create_task(flight("u", source.read)) for _ in range(3)]
        await settle()
        source.gate.set()
        results = await asyncio.gather(first, *later, return_exceptions=True)
        source.error = None
        return [type(result) for result in results], await flight("u", source.read)

    assert asyncio.run(act()) == ([int, OSError, OSError, OSError], 0)


def test_who_goes_away_does_not_take_the_call_from_the_others():
    async def act():
        source, flight = Source(), SingleFlight()
        first = asyncio.create_task(flight("u", source.read))
        await settle()
        gone, stays = (asyncio.create_task(flight("u", source.read)) for _ in range(2))
        await settle()
        first.cancel()
        gone.cancel()
        await settle()
        source.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        result = await stays
        assert flight._under_way == {}
        assert flight._next == {}
        return result

    assert asyncio.run(act()) == 0
