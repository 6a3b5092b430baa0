from __future__ import annotations

import pytest

from services.recommendations.world.settings import TICKS_PER_DAY, TIME_OF_DAY, WorldSettings
from streamrec.contracts.errors import InvalidInputError


@pytest.mark.parametrize(
    ("field", "value"),
    [("users", 0), ("users", 500_001), ("items", 239), ("items", 2_000_001), ("days", 0), ("seed", -1)],
)
def test_a_size_out_of_bounds_is_refused_by_name(field: str, value: int):
    with pytest.raises(InvalidInputError) as raised:
        WorldSettings(**{field: value})
    assert raised.value.field == field


def test_the_chance_of_a_session_averages_one_over_the_day():
    assert len(TIME_OF_DAY) == TICKS_PER_DAY
    assert sum(TIME_OF_DAY) / TICKS_PER_DAY == pytest.approx(1.0)
