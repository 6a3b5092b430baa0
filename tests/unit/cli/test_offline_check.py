"""Served slates are compared with offline ones where time had no part in either."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from services.cli.demo.client import Answer
from services.cli.demo.measurements import RequestRecord
from services.cli.demo.offline_check import compare_with_offline
from services.recommendations.contracts.candidates import Segment, UserState
from streamrec.contracts.progress import SilentProgress

WHOLE = RequestRecord("", True, 1.0, 1, item_ids=("a", "b"), rung="ranked")


class Service:
    """Answers each user with a record of its own."""

    def __init__(self, records):
        self.records = records

    def recommend(self, user_id, **_):
        record = self.records[user_id]
        return Answer(record, None if record.failure else "request")


class Offline:
    """Says the same to everybody."""

    def recommend(self, *_):
        return SimpleNamespace(item_ids=("a", "b"))


def agreement(**records):
    users = [UserState(user, Segment(), ("x",)) for user in records]
    return compare_with_offline(Service(records), Offline(), users, SilentProgress(), k=2)


def test_a_slate_cut_off_by_the_clock_is_counted_apart_and_not_compared():
    found = agreement(
        same=WHOLE,
        cut_off=replace(WHOLE, item_ids=("b", "a"), in_full=False),
        degraded=replace(WHOLE, item_ids=("c",), degraded=True, in_full=False),
        failed=RequestRecord("", True, 1.0, 1, failure="status 503"),
    )
    assert (found.users, found.compared, found.identical, found.cut_off) == (4, 1, 1, 1)


def test_a_difference_that_the_clock_does_not_explain_stays_one():
    found = agreement(same=WHOLE, other=replace(WHOLE, item_ids=("a", "c")))
    assert (found.compared, found.identical, found.cut_off) == (2, 1, 0)
    assert found.overlap == pytest.approx(0.75)
