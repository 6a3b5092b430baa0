"""Reads in threads: bounded in time and in number."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.features.online.user_reads import ReadLimits, ThreadedReads


class HangingStore:
    def __init__(self):
        self.release = threading.Event()

    def read(self, _user_id):
        self.release.wait(10.0)


def outcomes_of(limits, count, *, at_once):
    store = HangingStore()

    async def act():
        reads = ThreadedReads(store.read, store.read, limits)
        if at_once:
            return await asyncio.gather(*(reads.row("u") for _ in range(count)), return_exceptions=True)
        outcomes = []
        for _ in range(count):
            with pytest.raises((DependencyError, OverloadedError)) as caught:
                await reads.row("u")
            outcomes.append(caught.value)
        store.release.set()
        await reads.close()
        return outcomes

    try:
        return [type(outcome) for outcome in asyncio.run(act())]
    finally:
        store.release.set()


def test_a_store_that_hangs_costs_a_request_its_timeout_and_no_more():
    kinds = outcomes_of(ReadLimits(timeout_ms=20.0, at_once=2), 4, at_once=False)
    assert kinds == [DependencyError, DependencyError, OverloadedError, OverloadedError]


def test_a_read_that_does_not_come_to_its_turn_is_told_from_one_that_is_late():
    kinds = outcomes_of(ReadLimits(timeout_ms=10.0, at_once=50, threads=1), 30, at_once=True)
    assert (kinds.count(DependencyError), kinds.count(OverloadedError)) == (1, 29)


def test_more_than_the_limit_is_refused_at_once():
    kinds = outcomes_of(ReadLimits(timeout_ms=10.0, at_once=3, threads=3), 10, at_once=True)
    assert (kinds.count(DependencyError), kinds.count(OverloadedError)) == (3, 7)
