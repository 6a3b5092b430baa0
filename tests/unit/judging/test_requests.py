from __future__ import annotations

import pandas as pd
import pytest

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.judging import requests
from services.recommendations.judging.state_columns import STATE_COLUMNS, state_table, states_of
from streamrec.contracts.errors import InvalidInputError
from tests.unit.judging.conftest import HISTORY, START, USERS


def test_each_known_user_asks_before_the_last_item_and_that_one_is_right(data):
    table = requests.known_users(data)
    assert len(table) == USERS
    first = table.iloc[0]
    assert (first["unit"], first["request_id"], first["split"]) == ("u00", "last-u00", "validation")
    assert first["relevant"] == ["i08"]
    assert first["at"] == START + pd.Timedelta(hours=24 * (HISTORY - 1))
    assert first["history"] == [f"i{step:02d}" for step in range(HISTORY - 1)]
    assert (first["disliked"], first["skipped"]) == (["i30"], ["i31"])
    assert table["request_id"].is_unique


def test_groups_are_there_and_what_is_not_known_is_missing(data):
    table = requests.known_users(data)
    assert table["group.language"].tolist()[:2] == ["fi", "de"]
    assert table["group.country"].tolist()[:3] == ["FI", "DE", None]


def test_new_users_know_little_and_are_shown_nothing_that_was_cut_off(data):
    table = requests.new_users(data)
    assert table["history"].map(len).tolist() == [row % 5 for row in range(USERS)]
    third = table.iloc[3]
    everything = requests.known_users(data).iloc[3]["history"]
    assert third["history"] == everything[-3:]
    assert third["shown"] == everything[:-3]
    assert third["relevant"] == requests.known_users(data).iloc[3]["relevant"]


def test_every_third_slate_is_that_of_a_new_user(data):
    lengths = requests.slates(data)["history"].map(len).tolist()
    assert lengths[:6] == [HISTORY - 1, HISTORY - 1, 0, HISTORY - 1, HISTORY - 1, 1]


def test_users_are_taken_evenly_where_there_are_too_many(data, monkeypatch):
    monkeypatch.setattr(requests, "MAXIMUM_USERS", 3)
    assert requests.known_users(data)["unit"].tolist() == ["u00", "u05", "u11"]


def test_old_items_of_a_long_history_are_in_no_answer_and_not_looked_at(data, monkeypatch):
    monkeypatch.setattr(requests, "_NEWEST", 2)
    first = requests.known_users(data).iloc[0]
    assert first["history"] == ["i06", "i07"]
    assert first["shown"] == ["i00", "i01", "i02", "i03", "i04", "i05"]


def test_states_come_back_as_they_were_also_through_a_file(tmp_path):
    states = [
        UserState("a", Segment("FI", "fi", "18-24", "tv"), ("i1", "i2"), ("i3",), ("i4",), (7,), ("i5",)),
        UserState("b"),
    ]
    table = state_table(states).assign(unit=["a", "b"])
    assert list(states_of(table)) == states
    table.to_parquet(tmp_path / "states.parquet")
    assert list(states_of(pd.read_parquet(tmp_path / "states.parquet"))) == states


def test_what_was_logged_before_pages_and_ages_counted_can_be_asked_again():
    states = [UserState("a", history=("i1",)), UserState("b", skipped=("i2",), skip_ages_hours=(3,))]
    table = state_table(states).assign(unit=["a", "b"])
    assert list(states_of(table.drop(columns="shown"))) == states
    assert list(states_of(table.assign(shown=None))) == states
    assert next(states_of(table.drop(columns="skip_ages_hours").iloc[1:])).skip_ages_hours == ()


def test_a_request_that_lacks_a_column_or_holds_what_is_none_is_named():
    table = state_table([UserState("a")]).assign(unit="a")
    with pytest.raises(InvalidInputError, match="history"):
        list(states_of(table.drop(columns="history")))
    with pytest.raises(InvalidInputError, match=r"features\.country"):
        list(states_of(table.assign(country=3)))
    assert set(STATE_COLUMNS) < set(table.columns)


def test_a_collector_who_has_seen_thousands_of_films_is_a_request_too() -> None:
    seen = tuple(f"movielens-{number:06d}" for number in range(3_000))
    table = state_table([UserState("a", history=seen[:200], shown=seen[200:])]).assign(unit="a")
    [state] = states_of(table)
    assert len(state.shown) == 2_800
