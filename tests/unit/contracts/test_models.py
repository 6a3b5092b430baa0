from __future__ import annotations

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.models import ModelRef, validate_model_name


@pytest.mark.parametrize("name", ["a", "recommendations-retrieval", "v2-x9", "a" * 63])
def test_accepts_plain_names(name: str) -> None:
    assert validate_model_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../a",
        "a..b",
        "%2e%2e",
        "a\x00b",
        "a\\b",
        "a" * 300,
        "a" * 64,
        "-rf",
        "a-",
        "a--b",
        "A",
        "a/b",
        "a\n",
        "é",
    ],
)
def test_refuses_what_could_leave_its_place(name: str) -> None:
    with pytest.raises(InvalidInputError, match="model_name"):
        validate_model_name(name)


def test_a_reference_is_checked_when_it_is_made() -> None:
    assert str(ModelRef("ranking", 3)) == "ranking@3"
    with pytest.raises(InvalidInputError, match="version"):
        ModelRef("ranking", 0)
