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


@pytest.mark.parametrize("ref", [ModelRef("a", 1), ModelRef("recommendations-ranking", 999_999_999)])
def test_a_version_is_read_as_it_is_written(ref: ModelRef) -> None:
    assert ModelRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@1",
        "a@0",
        "a@01",
        "a@-1",
        "a@1.5",
        "A@1",
        "a@1@2",
        "a@1 ",
        "a@1\n",
        "a@٣",
        f"{'a' * 64}@1",
        "a@" + "9" * 5_000,
    ],
)
def test_refuses_texts_that_are_no_version(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^prepare\.0: must be NAME@VERSION"):
        ModelRef.parse(text, field="prepare.0")
