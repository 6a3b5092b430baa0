from __future__ import annotations

import pytest

from services.cli.up.back_off import LIVES_WELL_AFTER_S, LONGEST_DELAY_S, BackOff


def test_deaths_in_a_row_wait_twice_as_long_each_up_to_a_bound():
    back_off = BackOff()
    delays_s = [back_off.delay_s(0.1) for _ in range(100)]
    assert delays_s[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(delays_s[6:]) == {LONGEST_DELAY_S}


@pytest.mark.parametrize(("lived_s", "next_s"), [(LIVES_WELL_AFTER_S, 0.5), (LIVES_WELL_AFTER_S - 1.0, 4.0)])
def test_a_long_life_makes_the_wait_short_again(lived_s, next_s):
    back_off = BackOff()
    for _ in range(3):
        back_off.delay_s(1.0)
    assert back_off.deaths == 3
    assert back_off.delay_s(lived_s) == next_s
