from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, IntervalMethod, interval_json

SHARE = Interval(0.5, 0.4, 0.65, 0.95, IntervalMethod.PERCENTILE_BOOTSTRAP, 200)
DOCUMENT = {
    "value": 0.5,
    "low": 0.4,
    "high": 0.65,
    "level": 0.95,
    "method": "percentile_bootstrap",
    "n": 200,
}


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low, value, high = sorted(draw(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3)))
    level = draw(st.floats(0.01, 0.99))
    return Interval(
        value, low, high, level, draw(st.sampled_from(IntervalMethod)), draw(st.integers(0, 10**9))
    )


def test_an_interval_has_one_shape() -> None:
    assert SHARE.to_json() == DOCUMENT
    assert interval_json(SHARE) == DOCUMENT
    assert interval_json(None) is None
    json.dumps(replace(SHARE, value=float(np.float64(0.5))).to_json(), allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(intervals())
def test_what_is_written_is_read_back(interval: Interval) -> None:
    content = canonical_json(interval.to_json())
    assert Interval.from_json(parse_json(content, maximum_bytes=1_000)) == interval


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"value": math.nan}, "value: must be a finite number"),
        ({"low": -math.inf}, "low: must be a finite number"),
        ({"value": 0.39}, "value: 0.39 must be between the bounds 0.4 and 0.65"),
        ({"high": 0.4999}, "must be between the bounds"),
        ({"level": 1.0}, "level: must be between 0 and 1"),
        ({"level": 95.0}, "level: must be between 0 and 1"),
        ({"n": -1}, "n: must be 0 or more"),
    ],
)
def test_refuses_what_is_no_interval(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{problem}" if ":" in problem else problem):
        replace(SHARE, **change)


def test_bounds_may_miss_the_value_by_rounding_alone() -> None:
    constant = Interval(0.1, 0.1 + 2e-17, 0.1 + 1.4e-17, 0.95, IntervalMethod.PERCENTILE_BOOTSTRAP, 3)
    assert replace(constant, low=0.10000000000000002).value == 0.1
    with pytest.raises(InvalidInputError):
        replace(constant, low=0.1000001)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"count": 200}, "models.ease.count: is not a field of this document"),
        ({"n": None}, "models.ease.n: "),
        ({"n": 2.5}, "models.ease.n: "),
        ({"value": "0.5"}, "models.ease.value: "),
        ({"value": True}, "models.ease.value: "),
        ({"method": "guess"}, "models.ease.method: "),
        ({"value": 0.7}, "models.ease.value: 0.7 must be between"),
        ({"level": 0}, "models.ease.level: "),
    ],
    ids=str,
)
def test_a_bad_field_of_a_document_is_named_by_its_path(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        Interval.from_json({**DOCUMENT, **change}, path="models.ease")
    assert str(refusal.value).startswith(problem)


@pytest.mark.parametrize("document", [None, [], 3, {}])
def test_something_else_is_no_interval(document: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^churn(\.value)?: (must be a JSON object|is missing)"):
        Interval.from_json(document, path="churn")
