from __future__ import annotations

import math
from collections import defaultdict

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.metrics.grouping import grouped_sums

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "ä", ""]), st.integers(-1, 0), st.floats(-1e6, 1e6)), max_size=25
)


def table(rows) -> pa.Table:
    names, numbers, values = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "name": pa.array(names, pa.string()),
            "cases": pa.array([1] * len(rows), pa.int64()),
            "key": pa.array(numbers, pa.int32()),
            "value": pa.array(values, pa.float64()),
        }
    )


@settings(max_examples=40)
@given(ROWS, st.randoms(use_true_random=False))
def test_sums_are_those_of_groups_to_the_last_bit_in_whatever_order(rows, random):
    grouped = grouped_sums(table(rows), ["name", "key"])
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert grouped_sums(table(shuffled), ["name", "key"]).equals(grouped)
    plain = defaultdict(list)
    for name, key, value in rows:
        plain[name, key].append(value)
    assert [(row["name"], row["key"]) for row in grouped.to_pylist()] == sorted(
        plain, key=lambda pair: (pair[0].encode(), pair[1])
    )
    for row in grouped.to_pylist():
        values = plain[row["name"], row["key"]]
        assert row["cases"] == len(values)
        assert math.isclose(row["value"], math.fsum(values), rel_tol=1e-9, abs_tol=1e-6)


@settings(max_examples=40)
@given(ROWS, ROWS)
def test_sums_of_sums_are_sums_of_all(first, second):
    keys = ["name", "key"]
    parts = pa.concat_tables([grouped_sums(table(part), keys) for part in (first, second)])
    whole = grouped_sums(table([*first, *second]), keys)
    merged = grouped_sums(parts, keys)
    assert merged.select(["name", "key", "cases"]).equals(whole.select(["name", "key", "cases"]))
    for left, right in zip(merged["value"].to_pylist(), whole["value"].to_pylist(), strict=True):
        assert math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)


def test_not_even_rounding_tells_in_which_order_rows_came():
    rows = [("a", 0, value) for value in (1e16, 1.0, -1e16, 1.0, 0.1, 0.2, 0.3)]
    sums = {
        grouped_sums(table(rows[place:] + rows[:place]), ["name"])["value"][0].as_py() for place in range(7)
    }
    assert len(sums) == 1
