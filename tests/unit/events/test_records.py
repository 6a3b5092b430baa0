"""Records as lines and as tables: a faithful round trip, and strictness on the way in."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import EventKind, Impression, Outcome, Rung
from streamrec.events.arrow_tables import from_table, to_table
from streamrec.events.records import (
    QuarantinedEvent,
    QuarantineReason,
    RecordKind,
    from_json,
    kind_of,
    partition_date,
    to_json,
)

moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Unpaired surrogates are not text: Arrow's strings, like every UTF-8 file, cannot hold them.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def impressions(draw):
    count = draw(st.integers(0, 5))
    return Impression(
        request_id=draw(texts),
        user_id=draw(texts),
        served_at=draw(moments),
        item_ids=tuple(draw(st.lists(texts, min_size=count, max_size=count))),
        scores=tuple(draw(st.lists(numbers, min_size=count, max_size=count))),
        propensities=tuple(draw(st.lists(numbers, min_size=count, max_size=count))),
        model_versions=draw(st.dictionaries(texts, st.integers(1, 10**6), max_size=3)),
        rung=draw(st.sampled_from(Rung)),
        cold_start=draw(st.booleans()),
        latency_ms=draw(numbers),
        variants=draw(st.dictionaries(texts, texts, max_size=3)),
    )


outcomes = st.builds(
    Outcome,
    event_id=texts,
    user_id=texts,
    item_id=texts,
    kind=st.sampled_from(EventKind),
    occurred_at=moments,
    received_at=moments,
    request_id=st.none() | texts,
    value=st.none() | numbers,
)
quarantined = st.builds(
    QuarantinedEvent,
    event_id=st.none() | texts,
    reason=st.sampled_from(QuarantineReason),
    received_at=moments,
    payload=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
)


@settings(max_examples=60, deadline=None)
@given(impressions() | outcomes | quarantined)
def test_every_record_survives_both_forms(record):
    line = to_json(record)

    assert "\n" not in line
    assert line.isascii()
    assert from_json(line) == record
    assert from_table(kind_of(record), to_table(kind_of(record), [record])) == [record]


VALID = json.loads(
    to_json(
        Outcome(
            "e1",
            "u1",
            "i1",
            EventKind.CLICK,
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            None,
            1.5,
        )
    )
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("event_id", 7),
        ("event_id", None),
        ("kind", "teleport"),
        ("occurred_at", "2026-01-01T00:00:00"),
        ("occurred_at", "soon"),
        ("occurred_at", 0),
        ("value", "1"),
        ("value", True),
        ("surprise", 1),
        ("record", "rumour"),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value):
    with pytest.raises(InvalidInputError) as raised:
        from_json(json.dumps(VALID | {field: value}))
    assert raised.value.field == field


@pytest.mark.parametrize("field", sorted(VALID))
def test_a_missing_field_is_refused_by_name(field):
    with pytest.raises(InvalidInputError) as raised:
        from_json(json.dumps({name: value for name, value in VALID.items() if name != field}))
    assert raised.value.field == field


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(constant):
    with pytest.raises(InvalidInputError, match="value"):
        from_json(json.dumps(VALID).replace("1.5", constant))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "1", "[" * 100_000])
def test_what_is_not_an_object_is_refused(text):
    with pytest.raises(InvalidInputError):
        from_json(text)


def test_an_impression_with_columns_of_different_length_is_neither_written_nor_read():
    broken = Impression(
        "r",
        "u",
        datetime(2026, 1, 1, tzinfo=UTC),
        ("a", "b"),
        (1.0,),
        (1.0, 1.0),
        {},
        Rung.RANKED,
        False,
        1.0,
    )
    with pytest.raises(InvalidInputError, match="scores"):
        to_json(broken)


def test_a_naive_time_is_not_written():
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # the point of the test
    with pytest.raises(InvalidInputError, match="zone"):
        to_json(Outcome("e", "u", "i", EventKind.CLICK, naive, datetime(2026, 1, 1, tzinfo=UTC)))


def test_the_partition_is_the_utc_date_of_the_platforms_clock():
    received_at = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    outcome = Outcome("e", "u", "i", EventKind.CLICK, datetime(1990, 1, 1, tzinfo=UTC), received_at)
    assert partition_date(outcome).isoformat() == "2025-12-31"


def test_a_table_refuses_records_of_another_kind():
    record = QuarantinedEvent(None, QuarantineReason.MALFORMED, datetime(2026, 1, 1, tzinfo=UTC), "x")
    with pytest.raises(ValueError, match="quarantined"):
        to_table(RecordKind.OUTCOME, [record])
