"""JSON in one form only: the same document always has the same bytes, so that it can be hashed and signed.

`canonical_json` writes the form of RFC 8785 (JSON Canonicalization Scheme). `parse_json` reads a document
from outside, and accepts only what has such a form: whatever two readers could understand differently
(repeated keys, numbers that a double cannot hold, text that is not Unicode) is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import rfc8785

from streamrec.contracts.errors import InvalidInputError

MAXIMUM_DEPTH: Final = 32
"""Objects and arrays inside each other. Documents of this platform need fewer than ten."""

LARGEST_INTEGER: Final = 2**53 - 1
"""Beyond it two different integers can become the same double, which is what JSON's readers hold."""

_MAXIMUM_PART_CHARACTERS: Final = 40
_DIGITS_OF_LARGEST_INTEGER: Final = len(str(LARGEST_INTEGER))
_EXPONENT_FORM_FROM: Final = 1e21
"""RFC 8785 writes a double from here on with an exponent, and a smaller whole one as an integer."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_WHOLE_DOCUMENT: Final = "document"
_PLAIN_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"), check_circular=False
)
"""Writes the form of RFC 8785 too, of documents without doubles and with ASCII keys."""


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of ``document`` in the form of RFC 8785, UTF-8.

    ``parse_json(canonical_json(document))`` equals ``document``.

    Args:
        document: Mappings with text keys, lists or tuples, text, booleans, None, integers and doubles.

    Raises:
        InvalidInputError: Something in it has no canonical form; ``field`` is its dotted path.
    """
    if not isinstance(document, Mapping):
        raise InvalidInputError(_WHOLE_DOCUMENT, "must be a JSON object")
    check = _Check()
    checked = check.value(document, path=(), depth=1)
    return _PLAIN_ENCODER.encode(checked).encode("utf-8") if check.is_plain else rfc8785.dumps(checked)


def parse_json(content: bytes, *, maximum_bytes: int) -> dict[str, Any]:
    """Read a JSON object that comes from outside.

    Args:
        content: UTF-8 without a byte order mark. White space and the order of keys are free.
        maximum_bytes: Longer content is refused before it is read.

    Raises:
        InvalidInputError: It is not JSON, not an object, too long or nested too deeply, repeats a key, or
            holds what has no canonical form: NaN, infinity, integers beyond 2**53 - 1, lone surrogates.
    """
    if len(content) > maximum_bytes:
        raise _refused(f"has {len(content)} bytes; at most {maximum_bytes} are accepted")
    if content.startswith(_BYTE_ORDER_MARK):
        raise _refused("starts with a byte order mark; write UTF-8 without one")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(f"is not UTF-8: byte {error.start} cannot be decoded") from error
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object_without_repeated_keys,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _refused(f"is not JSON: {error.msg} at {place}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if not isinstance(document, dict):
        raise _refused("must be a JSON object")
    checked: dict[str, Any] = _Check().value(document, path=(), depth=1)
    return checked


class _Check:
    """Looks through a document for what has no canonical form.

    Attributes:
        is_plain: Whether nothing was found that the standard library's encoder, which is four times as quick,
            writes in another way than RFC 8785: no double, and no key that UTF-16 could sort otherwise.
    """

    __slots__ = ("is_plain",)

    def __init__(self) -> None:
        self.is_plain = True

    def value(self, value: Any, *, path: tuple[str, ...], depth: int) -> Any:
        """Return ``value`` made of dict and list alone.

        Raises:
            InvalidInputError: Something in it has no canonical form.
        """
        if isinstance(value, str):
            _check_text(value, path)
        elif isinstance(value, Mapping):
            if depth > MAXIMUM_DEPTH:
                raise _too_deep()
            for key in value:
                self._key(key, path)
            # Most of a document is ASCII text, of which there is nothing to say.
            return {
                key: inner
                if type(inner) is str and inner.isascii()
                else self.value(inner, path=(*path, key), depth=depth + 1)
                for key, inner in value.items()
            }
        elif isinstance(value, (list, tuple)):
            if depth > MAXIMUM_DEPTH:
                raise _too_deep()
            return [
                self.value(inner, path=(*path, str(position)), depth=depth + 1)
                for position, inner in enumerate(value)
            ]
        elif isinstance(value, (int, float)):
            _check_number(value, path)
            if isinstance(value, float):
                self.is_plain = False
        elif value is not None:
            raise InvalidInputError(
                _dotted(path), f"has the type {type(value).__name__}, which JSON does not have"
            )
        return value

    def _key(self, key: object, path: tuple[str, ...]) -> None:
        if not isinstance(key, str):
            raise InvalidInputError(_dotted(path), f"the key {_quoted(str(key))} must be text")
        if not key.isascii():
            self.is_plain = False
            _check_text(key, path)


def _check_text(text: str, path: tuple[str, ...]) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(_dotted(path), "has a lone surrogate, which is not Unicode text") from error


def _check_number(number: float, path: tuple[str, ...]) -> None:
    if isinstance(number, float) and not math.isfinite(number):
        raise InvalidInputError(_dotted(path), "must be a finite number")
    if abs(number) > LARGEST_INTEGER and (isinstance(number, int) or abs(number) < _EXPONENT_FORM_FROM):
        raise InvalidInputError(_dotted(path), "is an integer beyond 2**53 - 1; write it as text")


def _object_without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _refused(f"repeats the key {_quoted(key)} in one object")
            seen.add(key)
    return read


def _integer(digits: str) -> int:
    # The length is looked at first, so that a number of a million digits costs nothing.
    if len(digits.lstrip("-")) > _DIGITS_OF_LARGEST_INTEGER or abs(int(digits)) > LARGEST_INTEGER:
        raise _refused(f"holds the integer {_quoted(digits)}, beyond 2**53 - 1; write it as text")
    return int(digits)


def _refuse_constant(name: str) -> float:
    raise _refused(f"holds {name}, which JSON does not have")


def _too_deep() -> InvalidInputError:
    return _refused(f"is nested more than {MAXIMUM_DEPTH} levels deep")


def _refused(problem: str) -> InvalidInputError:
    return InvalidInputError(_WHOLE_DOCUMENT, problem)


def _dotted(path: tuple[str, ...]) -> str:
    return dotted_path(path) or _WHOLE_DOCUMENT


def _quoted(text: str) -> str:
    return ascii(shortened(text))


def dotted_path(parts: Iterable[object]) -> str:
    """The keys and positions that lead to a field, joined by dots: ``slots.moderation.weight_bp``.

    Keys come from outside: long ones are shortened and control characters escaped, so that a message stays
    one short line.
    """
    return ".".join(one_line(shortened(str(part))) for part in parts)


def shortened(text: str) -> str:
    """At most 40 characters of a text."""
    if len(text) <= _MAXIMUM_PART_CHARACTERS:
        return text
    return text[:_MAXIMUM_PART_CHARACTERS] + "..."


def one_line(text: str) -> str:
    """The text with everything escaped that a terminal would not print as it is."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
