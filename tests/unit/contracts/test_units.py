from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.units import BASIS_POINTS, UNIT_HEADER, bucket, validate_unit

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden" / "buckets.json").read_text())


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['salt']}:{case['unit']}")
def test_golden_units_have_these_buckets(case):
    assert bucket(case["salt"], case["unit"]) == case["bucket"]


def test_buckets_are_uniform_and_independent_between_salts():
    first, second = (
        np.array([bucket(salt, str(unit)) for unit in range(20_000)]) for salt in ("rollout-1", "rollout-2")
    )
    assert first.min() >= 0
    assert first.max() < BASIS_POINTS
    counts = np.bincount(first // 100, minlength=100)
    assert stats.chisquare(counts).pvalue > 0.001
    table = np.histogram2d(first // 1000, second // 1000, bins=10)[0]
    assert stats.chi2_contingency(table).pvalue > 0.001


@pytest.mark.parametrize("unit", ["1", "a" * 128, "ünïcode 😀", "a:b", " "])
def test_accepts_units_of_bounded_length(unit):
    assert validate_unit(unit) == unit


@pytest.mark.parametrize("unit", ["", "a" * 129, "a\nb", "a\x00", "\x7f", "\x85", "\ud800"])
def test_refuses_units_that_cannot_be_logged_or_hashed(unit):
    with pytest.raises(InvalidInputError, match=f"^{UNIT_HEADER}: must "):
        validate_unit(unit, field=UNIT_HEADER)
