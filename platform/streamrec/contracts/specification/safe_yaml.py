"""YAML that people write, read without anything that YAML has beyond JSON.

No tags, so that no object is made; no anchors and aliases, so that ten lines do not become a gigabyte; no key
twice; and the scalars of YAML 1.2 alone, so that ``no`` is the text it looks like and not ``false``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from streamrec.contracts.canonical_json import one_line, shortened
from streamrec.contracts.errors import InvalidInputError

MAXIMUM_BYTES: Final = 65_536
_MAXIMUM_DEPTH: Final = 16
_WHOLE_DOCUMENT: Final = "document"


class _Loader(yaml.SafeLoader):
    """Builds dictionaries, lists, text, numbers, booleans and None."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in PyYAML

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is no text, or comes twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            place = f"line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise InvalidInputError(_WHOLE_DOCUMENT, f"{place}: a key must be text; put it in quotes")
            if key.value in seen:
                raise InvalidInputError(
                    _WHOLE_DOCUMENT, f"{place}: repeats the key {_quoted(key.value)}; keep one of the two"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("null", r"(?:~|null)?", "~n\0"),
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,15})", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf|\.Inf|\.INF)"
        r"|\.nan|\.NaN|\.NAN",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(f"^(?:{_pattern})$"),
        ["" if letter == "\0" else letter for letter in _first],
    )


def parse_yaml(content: bytes, *, maximum_bytes: int = MAXIMUM_BYTES) -> dict[str, Any]:
    """Read one YAML mapping that comes from outside.

    Args:
        content: UTF-8.
        maximum_bytes: Longer content is refused before it is read.

    Raises:
        InvalidInputError: It is too long, not YAML, not one mapping, nested too deeply, or holds a tag, an
            anchor, an alias or a key twice; the message names the line.
    """
    if len(content) > maximum_bytes:
        raise InvalidInputError(
            _WHOLE_DOCUMENT, f"has {len(content)} bytes; at most {maximum_bytes} are accepted"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            _WHOLE_DOCUMENT, f"is not UTF-8: byte {error.start} cannot be decoded"
        ) from error
    try:
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        # The loader makes plain values alone: it is PyYAML's safe one with less.
        document = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = one_line(" ".join(str(error.problem).split()))[:300]
        raise InvalidInputError(_WHOLE_DOCUMENT, f"is not YAML: {problem}{place}") from error
    except yaml.YAMLError as error:
        problem = one_line(" ".join(str(error).split()))[:300]
        raise InvalidInputError(_WHOLE_DOCUMENT, f"is not YAML: {problem}") from error
    if not isinstance(document, dict):
        raise InvalidInputError(_WHOLE_DOCUMENT, "must be a mapping: one 'key: value' on a line")
    return document


def _check_events(events: Iterator[Any]) -> None:
    """Refuse what YAML has beyond JSON, before anything is built of it."""
    depth = documents = 0
    for event in events:
        place = f"line {event.start_mark.line + 1}"
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise InvalidInputError(_WHOLE_DOCUMENT, f"{place}: begins a second document; keep one")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InvalidInputError(
                _WHOLE_DOCUMENT, f"{place}: anchors (&) and aliases (*) are refused; write the value again"
            )
        if getattr(event, "tag", None) is not None:
            raise InvalidInputError(_WHOLE_DOCUMENT, f"{place}: tags (!) are refused; write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAXIMUM_DEPTH:
                raise InvalidInputError(
                    _WHOLE_DOCUMENT, f"{place}: is nested more than {_MAXIMUM_DEPTH} levels deep"
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _quoted(text: str) -> str:
    return ascii(shortened(text))
