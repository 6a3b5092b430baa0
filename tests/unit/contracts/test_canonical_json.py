from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.contracts.canonical_json import LARGEST_INTEGER, MAXIMUM_DEPTH, canonical_json, parse_json
from streamrec.contracts.errors import InvalidInputError

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "golden" / "canonical_json.json").read_text())
MAXIMUM_BYTES = 10_000

numbers = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | st.floats(-(2**53) + 1, 2**53 - 1)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=8), values, max_size=5)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_documents_have_these_bytes(case: dict[str, str]) -> None:
    content = canonical_json(parse_json(case["input"].encode(), maximum_bytes=MAXIMUM_BYTES))
    assert content.decode() == case["canonical"]
    assert hashlib.sha256(content).hexdigest() == case["sha256"]


@settings(max_examples=50, deadline=None)
@given(documents)
def test_a_document_is_read_back_as_it_was_written(document: dict[str, Any]) -> None:
    content = canonical_json(document)
    assert parse_json(content, maximum_bytes=len(content)) == document


@settings(max_examples=200, deadline=None)
@given(documents)
def test_the_bytes_are_those_of_the_reference_implementation(document: dict[str, Any]) -> None:
    assert canonical_json(document) == rfc8785.dumps(document)


def test_every_character_below_the_surrogates_is_written_as_by_the_reference_implementation() -> None:
    document = {"ascii": "".join(map(chr, range(0xD800)))}
    assert canonical_json(document) == rfc8785.dumps(document)


@settings(max_examples=50, deadline=None)
@given(documents, st.integers(0, 999))
def test_the_order_of_keys_and_white_space_do_not_matter(document: dict[str, Any], seed: int) -> None:
    shuffled = dict(random.Random(seed).sample(list(document.items()), len(document)))
    spaced = json.dumps(shuffled, indent=3).encode()
    assert canonical_json(parse_json(spaced, maximum_bytes=len(spaced))) == canonical_json(document)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]"\\:,.0123456789eE-+utnlrfas \n').map(str.encode))
def test_whatever_the_bytes_are_they_are_read_or_refused_in_one_line(content: bytes) -> None:
    document, refusal = None, ""
    try:
        document = parse_json(content, maximum_bytes=MAXIMUM_BYTES)
    except InvalidInputError as error:
        refusal = str(error)
    if document is None:
        assert refusal
        assert "\n" not in refusal
    else:
        assert parse_json(canonical_json(document), maximum_bytes=MAXIMUM_BYTES) == document


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": NaN}', "document: holds NaN"),
        (b'{"a": -Infinity}', "document: holds -Infinity"),
        (b'{"a": {"b": [1e400]}}', "a.b.0: must be a finite number"),
        (b'{"a": 9007199254740992}', "holds the integer '9007199254740992'"),
        (b'{"a": -9007199254740992}', "beyond 2"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "beyond 2"),
        (b'{"a": 1e17}', "a: is an integer beyond 2"),
        (b'{"a": 1, "b": 2, "a": 1}', "document: repeats the key 'a' in one object"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "repeats the key 'a'"),
        (b'{"a": "\\ud800"}', "a: has a lone surrogate"),
        (b'{"\\udc00": 1}', "document: has a lone surrogate"),
        (b'{"a\\nb": "\\ud800"}', "a\\nb: has a lone surrogate"),
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8: byte 0"),
        (b'{"a": "\xc3"}', "is not UTF-8: byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "is not UTF-8"),
        (b"[1]", "document: must be a JSON object"),
        (b"7", "document: must be a JSON object"),
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b'{"a": 1} {}', "is not JSON: Extra data at line 1, column 10"),
        (b'{"a": 1,}', "is not JSON"),
        (b'{"a": 01}', "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": "\n"}', "is not JSON: Invalid control character"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refuses_what_two_readers_could_understand_differently(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^[^\n]*$") as refusal:
        parse_json(content, maximum_bytes=MAXIMUM_BYTES)
    assert reason in str(refusal.value)


def test_refuses_a_document_of_too_many_bytes_before_reading_it() -> None:
    with pytest.raises(InvalidInputError, match=r"has 10485760 bytes; at most 1000 are accepted"):
        parse_json(b"\xff" * (10 << 20), maximum_bytes=1_000)


@pytest.mark.parametrize("extra", [1, 100_000])
def test_refuses_documents_nested_too_deeply(extra: int) -> None:
    levels = MAXIMUM_DEPTH - 1
    accepted = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
    assert canonical_json(parse_json(accepted, maximum_bytes=len(accepted))) == accepted
    deeper = levels + extra
    refused = b'{"a":' + b"[" * deeper + b"]" * deeper + b"}"
    with pytest.raises(InvalidInputError, match="nested more than 32 levels deep"):
        parse_json(refused, maximum_bytes=len(refused))


def test_refuses_to_write_a_document_that_contains_itself() -> None:
    document: dict[str, Any] = {}
    document["self"] = document
    with pytest.raises(InvalidInputError, match="nested more than 32 levels deep"):
        canonical_json(document)


def test_writes_read_only_mappings_and_tuples_like_their_plain_kin() -> None:
    assert canonical_json(MappingProxyType({"b": (1, 2), "a": MappingProxyType({})})) == b'{"a":{},"b":[1,2]}'


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"a": float("nan")}, "a: must be a finite number"),
        ({"a": 2**53}, "a: is an integer beyond 2"),
        ({"a": 2.0**53}, "a: is an integer beyond 2"),
        ({"a": {1: 2}}, "a: the key '1' must be text"),
        ({"a": "\udfff"}, "a: has a lone surrogate"),
        ({"a": b"x"}, "a: has the type bytes, which JSON does not have"),
        ([1], "document: must be a JSON object"),
    ],
    ids=str,
)
def test_refuses_to_write_what_has_no_canonical_form(document: Any, reason: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        canonical_json(document)
    assert reason in str(refusal.value)
