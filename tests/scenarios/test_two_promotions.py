"""Two promotions of one slot at the same moment, a hundred times (failure case 21)."""

from __future__ import annotations

from tests.integration.rollout.test_two_at_once import race


def test_one_wins_each_time(tmp_path):
    race(tmp_path, 100)
