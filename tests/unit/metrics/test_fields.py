from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.metrics.definitions import Condition, Dimension
from streamrec.metrics.fields import EventFields, holds

PRESENT = Condition(field="extension.a", present=True)
MISSING = Condition(field="extension.a", present=False)
ONE = Condition(field="extension.a", equals=(1, "one"))
OTHERS = Condition(field="extension.a", differs_from=(1, "one"))


@pytest.mark.parametrize(
    ("value", "present", "one", "others"),
    [
        (1, True, True, False),
        (1.0, True, True, False),
        ("one", True, True, False),
        (True, True, False, True),  # which equals 1 in Python
        (2, True, False, True),
        (0, True, False, True),
        (False, True, False, True),
        (["one"], True, False, True),
        (None, False, False, False),
        ("", False, False, False),
        ([], False, False, False),
    ],
)
def test_a_condition_is_true_of_what_it_says_and_of_nothing_that_is_missing(value, present, one, others):
    assert (holds(PRESENT, value), holds(MISSING, value)) == (present, not present)
    assert (holds(ONE, value), holds(OTHERS, value)) == (one, others)


def columns(*texts: str | None) -> EventFields:
    return EventFields(pa.table({"extension": pa.array(texts, pa.string())}), ["extension.a"])


def test_what_is_no_finite_number_is_none():
    numbers = columns(
        '{"a": 2}', '{"a": 2.5}', '{"a": true}', '{"a": "3"}', '{"b": 1}', "{}", None, '{"a": 1e999}'
    )
    found = numbers.numbers("extension.a")
    assert found[:2].tolist() == [2.0, 2.5]
    assert all(map(math.isnan, found[2:]))


def test_values_to_split_by_are_text():
    dimension = Dimension(field="extension.a", description="d", maximum_values=9)
    found = columns('{"a": true}', '{"a": "x"}', '{"a": 3}', "{}", None, '{"a": ""}').values("a", dimension)
    assert found.to_pylist() == ["true", "x", "3", "unknown", "unknown", "unknown"]


def test_an_extension_that_is_not_json_is_damage_and_not_nothing():
    with pytest.raises(ArtifactError, match="not JSON"):
        columns("{")


def test_conditions_on_columns_are_those_on_values():
    table = pa.table(
        {
            "version": pa.array(["a@1", None, "b@2"]),
            "item_ids": pa.array([["x"], [], ["x", "y"]], pa.list_(pa.string())),
        }
    )
    fields = EventFields(table, ["version", "items"])
    for condition, values in (
        (Condition(field="version", present=False), [False, True, False]),
        (Condition(field="version", differs_from=("a@1",)), [False, False, True]),
        (Condition(field="items", equals=(0,)), [False, True, False]),
    ):
        assert fields.holds(condition).tolist() == values
    assert EventFields(table.slice(0, 0), ["version"]).holds(PRESENT_VERSION).dtype == np.bool_


PRESENT_VERSION = Condition(field="version", present=True)
