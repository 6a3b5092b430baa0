"""YAML from outside: nothing beyond JSON gets in, and nothing grows."""

from __future__ import annotations

import math

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.safe_yaml import parse_yaml


def test_scalars_are_those_of_yaml_1_2():
    read = parse_yaml(
        b"a: no\nb: 010\nc: 1e3\nd: 2026-01-01\ne: ~\nf: true\ng: 12:30\nh: .nan\ni: -4\nj: on\nk:\n"
    )
    assert math.isnan(read.pop("h"))
    assert read == {
        "a": "no",
        "b": "010",
        "c": 1000.0,
        "d": "2026-01-01",
        "e": None,
        "f": True,
        "g": "12:30",
        "i": -4,
        "j": "on",
        "k": None,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: &x [1]\nb: *x\n", "anchors"),
        (b"a: !!python/object/apply:os.system [id]\n", "tags"),
        (b"a: !!str 1\n", "tags"),
        (b"a: 1\na: 2\n", "repeats the key 'a'"),
        (b"x: {a: 1, a: 2}\n", "repeats the key 'a'"),
        (b"1: 2\n", "a key must be text"),
        (b"? [a]\n: b\n", "a key must be text"),
        (b"a: 1\n---\nb: 2\n", "second document"),
        (b"- a\n", "must be a mapping"),
        (b"", "must be a mapping"),
        (b"a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", "nested more than"),
        (b"a: [1, 2\n", "is not YAML"),
        (b"a: \x00\n", "is not YAML"),
        (b"a: \xff\n", "is not UTF-8"),
        (b"a: " + b"x" * 70_000, "at most 65536"),
    ],
)
def test_what_yaml_has_beyond_json_is_refused(content, words):
    with pytest.raises(InvalidInputError, match=words):
        parse_yaml(content)
