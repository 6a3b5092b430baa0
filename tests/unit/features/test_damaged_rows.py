from __future__ import annotations

import pyarrow as pa
import pytest

from streamrec.contracts.errors import DamagedRowError
from streamrec.features.feast_import import Value
from streamrec.features.feast_rows import features_of
from streamrec.features.item_tables import item_table_of


def profile():
    return {name: Value(string_val=name) for name in ("country", "language", "age_band", "signup_channel")}


def rejections():
    row = {"disliked": Value(), "skipped": Value(), "disliked_times": Value(), "skipped_times": Value()}
    for name in ("disliked", "skipped"):
        row[name].string_list_val.SetInParent()
        row[f"{name}_times"].int64_list_val.SetInParent()
    return row


def test_a_view_may_know_nothing_of_a_user():
    nothing = {name: Value() for name in rejections()}
    assert features_of("u", {}) is None
    assert features_of("u", nothing) is None
    assert features_of("u", profile() | nothing).language == "language"
    # An empty list is a value: the user has skipped nothing.
    assert features_of("u", profile() | rejections()).language == "language"


@pytest.mark.parametrize("value", [None, Value(), Value(int64_val=7)], ids=["dropped", "empty", "retyped"])
@pytest.mark.parametrize("name", [*profile(), *rejections()])
def test_what_a_known_user_lacks_is_not_guessed(name, value):
    row = profile() | rejections()
    del row[name]
    if value is not None:
        row[name] = value
    with pytest.raises(DamagedRowError, match=name):
        features_of("u", row)


def without(table, column):
    return table.drop_columns(column)


def renamed(table, column):
    return table.rename_columns([f"{name}_" if name == column else name for name in table.column_names])


def retyped(table, column):
    return table.set_column(table.column_names.index(column), column, pa.array([True] * table.num_rows))


def emptied(table, column):
    kind = table.schema.field(column).type
    return table.set_column(table.column_names.index(column), column, pa.nulls(table.num_rows, type=kind))


@pytest.mark.parametrize("damage", [without, renamed, retyped, emptied])
@pytest.mark.parametrize("column", ["item_id", "creator_id", "creator_language"])
def test_an_item_table_with_a_damaged_column_is_refused(damage, column):
    items = pa.table(
        {
            "item_id": ["a", "b"],
            "title": ["A", "B"],
            "creator_id": ["c", "c"],
            "creator_language": ["fi", "de"],
            "topics": [["t"], None],
            "published_at": pa.array([None, 0], pa.timestamp("us", "UTC")),
        }
    )
    popularity = pa.table(
        {
            "item_id": ["a"],
            "interaction_count": [3],
            "event_timestamp": pa.array([0], pa.timestamp("us", "UTC")),
        }
    )
    assert item_table_of(items, popularity).catalogue.creator_languages == ("fi", "de")
    with pytest.raises(DamagedRowError, match=column):
        item_table_of(damage(items, column), popularity)
    with pytest.raises(DamagedRowError, match="interaction_count"):
        item_table_of(items, damage(popularity, "interaction_count"))
