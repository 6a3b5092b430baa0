from __future__ import annotations

import pytest

from streamrec.contracts.errors import DamagedRowError
from streamrec.features.feast_import import Value
from streamrec.features.feast_rows import features_of


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
