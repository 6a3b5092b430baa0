"""The pages of one list: what the pages before showed travels with the client, so any gateway makes the next.

A token is text for the client to send back as it is. It holds the items shown so far and nothing that the
client has not seen. It is not signed: who makes one up leaves items out of an own list and harms nobody.
But it is read like any other hostile input, and one that was changed or cut short is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import InvalidInputError

MAXIMUM_PAGES: Final = 10
MAXIMUM_SHOWN_ITEMS: Final = 500
"""Items of all pages before one: every stage leaves them out, which takes time."""

MAXIMUM_TOKEN_CHARACTERS: Final = 32 * 1024
"""Half of what a request may take. 500 ids of 40 characters fit in; of longer ids, fewer pages."""

_FIELD: Final = "page_token"
_VERSION: Final = 1
_DIGEST_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """Which page of a list is asked for.

    Attributes:
        number: 1 is the first.
        shown: Items of the pages before, in the order shown, each once.
    """

    number: int = 1
    shown: tuple[str, ...] = ()

    def next_token(self, user_id: str, item_ids: Sequence[str], k: int) -> str | None:
        """Return what asks for the page after this one; None where there is none.

        Args:
            user_id: Whose list it is.
            item_ids: What this page shows.
            k: How many were asked for; where there are fewer, the list ends.
        """
        shown = (*self.shown, *item_ids)
        if len(item_ids) < k or self.number >= MAXIMUM_PAGES or len(shown) > MAXIMUM_SHOWN_ITEMS:
            return None
        token = _packed([_VERSION, self.number + 1, list(shown)], user_id)
        return token if len(token) <= MAXIMUM_TOKEN_CHARACTERS else None


FIRST_PAGE: Final = Page()


def read_page(token: str | None, user_id: str) -> Page:
    """Return the page that a token asks for; the first one where there is no token.

    Raises:
        InvalidInputError: ``page_token`` is not what an answer to this user had as its ``next_page_token``.
    """
    if token is None:
        return FIRST_PAGE
    content = _unpacked(token, user_id)
    try:
        version, number, shown = json.loads(content)
    except (ValueError, TypeError, RecursionError) as error:
        raise _refused("cannot be read") from error
    if version != _VERSION:
        raise _refused("is of another release")
    if type(number) is not int or not 2 <= number <= MAXIMUM_PAGES:
        raise _refused("names no page")
    if not isinstance(shown, list) or not number - 1 <= len(shown) <= MAXIMUM_SHOWN_ITEMS:
        raise _refused("holds too many items, or too few")
    if not all(type(item_id) is str and 0 < len(item_id) <= MAXIMUM_ID_CHARACTERS for item_id in shown):
        raise _refused("holds what is no item id")
    if len(set(shown)) < len(shown):
        raise _refused("holds an item twice")
    return Page(number, tuple(shown))


def _packed(document: list[object], user_id: str) -> str:
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(content, user_id) + content).rstrip(b"=").decode()


def _unpacked(token: str, user_id: str) -> bytes:
    if len(token) > MAXIMUM_TOKEN_CHARACTERS:
        raise _refused(f"is longer than {MAXIMUM_TOKEN_CHARACTERS} characters")
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("is not in base64url") from error
    digest, content = packed[:_DIGEST_BYTES], packed[_DIGEST_BYTES:]
    if digest != _digest(content, user_id):
        raise _refused("was changed on the way, or is another user's")
    return content


def _digest(content: bytes, user_id: str) -> bytes:
    return hashlib.blake2b(
        content, digest_size=_DIGEST_BYTES, key=hashlib.sha256(user_id.encode()).digest()
    ).digest()


def _refused(problem: str) -> InvalidInputError:
    return InvalidInputError(_FIELD, f"{problem}; send the next_page_token of an answer to this user")
