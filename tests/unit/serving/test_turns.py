from __future__ import annotations

import asyncio

import pytest

from streamrec.serving.turns import Turn


def test_one_holds_it_at_a_time_and_lets_go_while_it_is_away():
    async def run():
        lock, order = asyncio.Lock(), []

        async def first():
            turn = Turn(lock)
            await turn.take(1.0)
            order.append("first")
            async with turn.away(lambda: 1.0):
                await asyncio.sleep(0.01)
                order.append("first is back")
            assert lock.locked()
            turn.leave()

        async def second():
            turn = Turn(lock)
            await turn.take(1.0)
            order.append("second")
            turn.leave()

        await asyncio.gather(first(), second())
        assert not lock.locked()
        return order

    assert asyncio.run(run()) == ["first", "second", "first is back"]


def test_who_is_away_twice_at_once_comes_back_once():
    async def run():
        lock = asyncio.Lock()
        turn = Turn(lock)
        await turn.take(1.0)

        async def away(seconds):
            async with turn.away(lambda: 1.0):
                await asyncio.sleep(seconds)

        await asyncio.gather(away(0.0), away(0.005))
        assert lock.locked()
        turn.leave()
        turn.leave()
        assert not lock.locked()

    asyncio.run(run())


def test_who_does_not_get_it_back_in_time_goes_on_without():
    async def run():
        lock = asyncio.Lock()
        turn = Turn(lock)
        await turn.take(1.0)
        async with turn.away(lambda: 0.01):
            await lock.acquire()
        turn.leave()
        assert lock.locked()  # it is the other one's

    asyncio.run(run())


def test_it_is_waited_for_only_so_long_and_nobody_waits_where_there_is_none():
    async def run():
        lock = asyncio.Lock()
        await lock.acquire()
        with pytest.raises(TimeoutError):
            await Turn(lock).take(0.001)
        nobody = Turn()
        await nobody.take(0.0)
        async with nobody.away(lambda: 0.0):
            pass
        nobody.leave()

    asyncio.run(run())


def test_an_error_while_it_is_away_leaves_the_turn_with_its_holder():
    async def run():
        lock = asyncio.Lock()
        turn = Turn(lock)
        await turn.take(1.0)
        with pytest.raises(RuntimeError):
            async with turn.away(lambda: 1.0):
                raise RuntimeError("gone")
        assert lock.locked()
        turn.leave()
        assert not lock.locked()

    asyncio.run(run())
