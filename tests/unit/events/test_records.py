"""Records as lines and as tables: a faithful round trip, and strictness on the way in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.event_fields import MAXIMUM_EXTENSION_BYTES, MAXIMUM_ITEMS, MAXIMUM_OBJECT_BYTES
from streamrec.contracts.events import (
    UNKNOWN_PROPENSITY,
    Exposure,
    Impression,
    InteractionKind,
    Label,
    Outcome,
    Prediction,
    Propensity,
    PropensityKind,
    ScoredItems,
)
from streamrec.contracts.slots import ServingRole
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
from tests.made_events import a_label, a_prediction, an_exposure, an_impression, an_outcome

moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Unpaired surrogates are not text: no UTF-8 file can hold them.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
slots = st.sampled_from(["search.ranking", "ads.auction", "moderation"])
versions = st.builds("{}@{}".format, st.sampled_from(["search", "ads-auction"]), st.integers(1, 10**6))
revisions = st.none() | st.integers(0, 2**62)
objects = st.dictionaries(
    texts,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | numbers
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
extensions = objects.map(lambda fields: fields | {"schema": "search.impression.v1"})


def lists_of(strategy, count):
    return st.lists(strategy, min_size=count, max_size=count).map(tuple)


@st.composite
def scored_items(draw):
    count = draw(st.integers(0, 4))
    return ScoredItems(draw(lists_of(texts, count)), draw(lists_of(numbers, count)))


@st.composite
def answers(draw):
    return {
        "request_id": draw(texts),
        "unit": draw(texts),
        "slot": draw(slots),
        "version": draw(st.none() | versions),
        "predicted_at": draw(moments),
        "traffic_revision": draw(revisions),
        "features": draw(st.none() | objects),
        "candidates": draw(st.none() | scored_items()),
        "extension": draw(st.none() | extensions),
    }


@st.composite
def predictions(draw):
    return Prediction(**draw(answers()), role=draw(st.sampled_from(ServingRole)), output=draw(objects))


@st.composite
def impressions(draw):
    count = draw(st.integers(0, 5))
    chances = lists_of(st.floats(0.0, 1.0), count)
    return Impression(
        **draw(answers()),
        role=draw(st.sampled_from([role for role in ServingRole if role is not ServingRole.SHADOW])),
        item_ids=draw(lists_of(texts, count)),
        scores=draw(lists_of(numbers, count)),
        versions=draw(st.dictionaries(slots, versions)),
        propensity=draw(
            st.just(UNKNOWN_PROPENSITY)
            | st.builds(Propensity, st.just(PropensityKind.EXACT), chances)
            | st.builds(Propensity, st.just(PropensityKind.MONTE_CARLO), chances, st.integers(1, 10**6))
        ),
        seed=draw(st.none() | st.integers(0, 2**64 - 1).map("{:016x}".format)),
        state_digest=draw(st.none() | st.integers(0, 2**256 - 1).map("{:064x}".format)),
        price_revision=draw(revisions),
        variants=draw(st.dictionaries(texts, texts, max_size=3)),
    )


@st.composite
def outcomes(draw):
    value = draw(st.none() | numbers)
    return Outcome(
        event_id=draw(texts),
        unit=draw(texts),
        item_id=draw(st.none() | texts),
        kind=draw(st.sampled_from(["click", "conversion", "appeal_2"])),
        occurred_at=draw(moments),
        received_at=draw(moments),
        request_id=draw(st.none() | texts),
        value=value,
        currency=None if value is None else draw(st.none() | st.just("EUR")),
    )


exposures = st.builds(Exposure, unit=texts, experiment=texts, variant=texts, at=moments)
labels = st.builds(
    Label,
    subject=texts,
    name=st.just("violates_policy"),
    value=st.booleans() | numbers | texts,
    at=moments,
    received_at=moments,
)
quarantined = st.builds(
    QuarantinedEvent,
    event_id=st.none() | texts,
    reason=st.sampled_from(QuarantineReason),
    received_at=moments,
    payload=st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
)


@settings(max_examples=60, deadline=None)
@given(predictions() | impressions() | exposures | outcomes() | labels | quarantined)
def test_every_record_survives_both_forms(record):
    line = to_json(record)

    assert "\n" not in line
    assert from_json(line) == from_json(line.encode()) == record
    assert from_table(kind_of(record), to_table(kind_of(record), [record])) == [record]


@pytest.mark.parametrize("value", [True, False, 1.0, 0.0, "true", "1"])
def test_a_label_keeps_the_type_of_its_value(value):
    record = a_label(value=value)
    for read in (
        from_json(to_json(record)),
        *from_table(RecordKind.LABEL, to_table(RecordKind.LABEL, [record])),
    ):
        assert type(read.value) is type(value)


VALID = json.loads(to_json(an_outcome(request_id=None, value=1.5)))
SHOWN = json.loads(
    to_json(an_impression(seed="0" * 16, extension={"schema": "search.impression.v1", "x": 1}))
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_id", ""),
        ("event_id", 7),
        ("event_id", None),
        ("unit", ["u"]),
        ("kind", "Tele port"),
        ("kind", "k" * 65),
        ("occurred_at", "2026-01-01T00:00:00"),
        ("occurred_at", "1700000000"),
        ("occurred_at", "soon"),
        ("occurred_at", 0),
        ("value", "1"),
        ("value", True),
        ("currency", "euro"),
        ("surprise", 1),
        ("schema", "streamrec.rumour.v2"),
        ("schema", "streamrec.outcome.v3"),
        ("schema", None),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value):
    with pytest.raises(InvalidInputError) as raised:
        from_json(json.dumps(VALID | {field: value}))
    assert raised.value.field == field
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("role", {"role": "shadow"}),
        ("role", {"role": "emperor"}),
        ("slot", {"slot": "Search"}),
        ("version", {"version": "search"}),
        ("version", {"version": "search@0"}),
        ("scores", {"scores": [1.0]}),
        ("scores.1", {"scores": [1.0, None]}),
        ("seed", {"seed": "12"}),
        ("state_digest", {"state_digest": "0" * 63}),
        ("price_revision", {"price_revision": -1}),
        ("traffic_revision", {"traffic_revision": 1.5}),
        ("item_ids", {"item_ids": ["i"] * (MAXIMUM_ITEMS + 1), "scores": [0.0] * (MAXIMUM_ITEMS + 1)}),
        ("propensity.kind", {"propensity": {"kind": "likely"}}),
        ("propensity.values", {"propensity": {"kind": "exact"}}),
        ("propensity.values", {"propensity": {"kind": "unknown", "values": [1.0, 1.0]}}),
        ("propensity.values", {"propensity": {"kind": "exact", "values": [1.0]}}),
        ("propensity.values.1", {"propensity": {"kind": "exact", "values": [1.0, 1.1]}}),
        ("propensity.draws", {"propensity": {"kind": "monte_carlo", "values": [0.5, 0.5]}}),
        ("propensity.draws", {"propensity": {"kind": "exact", "values": [0.5, 0.5], "draws": 7}}),
        ("candidates.scores", {"candidates": {"item_ids": ["a"], "scores": []}}),
        ("extension", {"extension": {"no": "schema"}}),
        ("extension", {"extension": {"schema": "impression"}}),
        ("extension", {"extension": {"schema": "a.b.v1", "x": "y" * MAXIMUM_EXTENSION_BYTES}}),
        ("features", {"features": {"x": "y" * MAXIMUM_OBJECT_BYTES}}),
        ("features", {"features": [1]}),
    ],
)
def test_a_wrong_impression_is_refused_by_the_name_of_its_field(field, changes):
    with pytest.raises(InvalidInputError) as raised:
        from_json(json.dumps(SHOWN | changes))
    assert raised.value.field == field


@pytest.mark.parametrize(
    "field",
    ["schema", "event_id", "unit", "item_id", "kind", "occurred_at", "received_at"],
)
def test_a_missing_field_is_refused_by_name(field):
    with pytest.raises(InvalidInputError, match="missing") as raised:
        from_json(json.dumps({name: value for name, value in VALID.items() if name != field}))
    assert raised.value.field == field


def test_a_field_with_a_default_may_be_missing():
    kept = {name: value for name, value in VALID.items() if name not in ("request_id", "value", "currency")}
    assert from_json(json.dumps(kept)) == an_outcome(request_id=None)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("document", [VALID | {"value": 1.25}, SHOWN | {"features": {"deep": [1.25]}}])
def test_numbers_that_are_not_finite_are_refused(document, constant):
    with pytest.raises(InvalidInputError, match=r"value|features"):
        from_json(json.dumps(document).replace("1.25", constant))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "null", "1", "{}", "[" * 100_000, '{"x":' * 1000, '{"record": 1' + "0" * 5000 + "}"],
)
def test_what_is_not_an_object_with_a_schema_is_refused(text):
    with pytest.raises(InvalidInputError):
        from_json(text)


@pytest.mark.parametrize(
    "broken",
    [
        an_outcome(value=float("nan")),
        an_outcome(value=float("inf")),
        an_outcome(unit=""),
        an_outcome(event_id="\ud800"),
        an_outcome(kind="two words"),
        an_outcome(occurred_at="2026-01-01T00:00:00Z"),
        an_outcome(occurred_at=datetime(2026, 1, 1)),  # noqa: DTZ001  # a time without a zone
        an_impression(scores=(float("nan"), 1.0)),
        an_impression(extension={"schema": "a.b.v1", "x": float("nan")}),
        an_impression(extension={"schema": "a.b.v1", "x": {1, 2}}),
        an_impression(slot="two words"),
        a_prediction(output={"x": "y" * MAXIMUM_OBJECT_BYTES}),
        an_exposure(variant=""),
        a_label(value=float("inf")),
    ],
    ids=lambda record: repr(record)[:60],
)
def test_what_would_not_be_read_is_not_written(broken):
    with pytest.raises(InvalidInputError):
        to_json(broken)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scores": (1.0,)}, "scores"),
        ({"propensity": Propensity.certain(3)}, "propensity.values"),
        ({"role": ServingRole.SHADOW}, "role"),
    ],
)
def test_an_impression_that_contradicts_itself_cannot_be_made(changes, field):
    with pytest.raises(InvalidInputError) as raised:
        an_impression(**changes)
    assert raised.value.field == field


def test_an_amount_of_money_needs_its_value():
    with pytest.raises(InvalidInputError, match="currency"):
        replace(an_outcome(value=None), currency="EUR")
    assert an_outcome(kind="conversion", value=9.5, currency="EUR").currency == "EUR"


def test_the_kinds_of_interaction_that_are_evidence_of_interest():
    assert [kind for kind in InteractionKind if not kind.positive] == ["dislike", "skip"]


def test_the_partition_is_the_utc_date_of_the_platforms_clock():
    received_at = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    outcome = an_outcome(occurred_at=datetime(1990, 1, 1, tzinfo=UTC), received_at=received_at)
    assert partition_date(outcome).isoformat() == "2025-12-31"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("kind", pa.array(["two words"])),
        ("value", pa.array(["1.5"])),
        ("occurred_at", pa.array(["2026-01-01T00:00:00Z"])),
        ("received_at", pa.array([None], pa.timestamp("us", tz="UTC"))),
    ],
)
def test_a_table_with_a_wrong_column_is_refused_by_name(name, column):
    table = to_table(RecordKind.OUTCOME, [an_outcome()])
    broken = table.set_column(table.column_names.index(name), name, column)
    with pytest.raises(InvalidInputError) as raised:
        from_table(RecordKind.OUTCOME, broken)
    assert raised.value.field == name


@pytest.mark.parametrize("text", ["{", "[1]", '{"x": NaN}', "null"])
def test_a_table_whose_json_is_damaged_is_refused_by_name(text):
    table = to_table(RecordKind.PREDICTION, [a_prediction()])
    broken = table.set_column(table.column_names.index("output"), "output", pa.array([text]))
    with pytest.raises(InvalidInputError) as raised:
        from_table(RecordKind.PREDICTION, broken)
    assert raised.value.field.split(".")[0] == "output"


def test_a_table_refuses_records_of_another_kind():
    record = QuarantinedEvent(None, QuarantineReason.MALFORMED, datetime(2026, 1, 1, tzinfo=UTC), "x")
    with pytest.raises(ValueError, match="quarantined"):
        to_table(RecordKind.OUTCOME, [record])
