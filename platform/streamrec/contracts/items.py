"""Items, and the entries of the log that says how the catalogue changes.

`ItemChange` is one entry: an item was put (published, or described anew) or removed. Each has the next
revision of the log, so that a revision names a state of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.canonical_json import LARGEST_INTEGER
from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS, UNKNOWN
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, UtcTime, document_json, read_document

ITEM_CHANGE_SCHEMA: Final = "streamrec.item_change.v1"

MAXIMUM_TITLE_CHARACTERS: Final = 1_000
MAXIMUM_TOPIC_CHARACTERS: Final = 128
MAXIMUM_ITEM_TOPICS: Final = 64
MAXIMUM_LANGUAGE_CHARACTERS: Final = 64

_ONE_LINE: Final = r"^[^\x00-\x1f\x7f]*$"

ItemId = Annotated[str, Field(min_length=1, max_length=MAXIMUM_ID_CHARACTERS, pattern=_ONE_LINE)]
Title = Annotated[str, Field(max_length=MAXIMUM_TITLE_CHARACTERS, pattern=_ONE_LINE)]
Topic = Annotated[str, Field(min_length=1, max_length=MAXIMUM_TOPIC_CHARACTERS, pattern=_ONE_LINE)]
Language = Annotated[str, Field(min_length=1, max_length=MAXIMUM_LANGUAGE_CHARACTERS, pattern=_ONE_LINE)]


class ItemAction(StrEnum):
    """What became of an item."""

    PUT = "put"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of an item from its content alone.

    Attributes:
        item_id: Its name, everywhere.
        title: For people; may be empty.
        creator_id: Who made it; ``unknown`` where nobody knows.
        creator_language: In which language; ``unknown`` where nobody knows.
        topics: What it is about; no repeats.
        published_at: When; None where nobody knows.
    """

    __pydantic_config__ = STRICT

    item_id: ItemId
    title: Title = ""
    creator_id: ItemId = UNKNOWN
    creator_language: Language = UNKNOWN
    topics: Annotated[tuple[Topic, ...], Field(max_length=MAXIMUM_ITEM_TOPICS)] = ()
    published_at: UtcTime | None = None

    def __post_init__(self) -> None:
        if len(set(self.topics)) < len(self.topics):
            raise InvalidInputError("topics", "must not name a topic twice")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Item:
        """Read plain JSON values; a field that is missing is unknown.

        Raises:
            InvalidInputError: A field is unknown, of another type or out of bounds; ``field`` names it.
        """
        return read_document(cls, document)


@dataclass(frozen=True, slots=True)
class ItemChange:
    """One entry of the item log.

    Attributes:
        schema: The format.
        revision: 1 for the first entry of a log, and one more for each that follows.
        at: When it was written, by the writer's clock; never before the entry in front of it.
        action: What became of the item.
        item_id: Which item.
        item: All that is known of it; None where it was removed.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.item_change.v1"] = field(default=ITEM_CHANGE_SCHEMA, kw_only=True)
    revision: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    at: UtcTime
    action: ItemAction
    item_id: ItemId
    item: Item | None

    def __post_init__(self) -> None:
        if (self.action is ItemAction.PUT) != (self.item is not None):
            raise InvalidInputError("item", "must be there where an item is put, and only there")
        if self.item is not None and self.item.item_id != self.item_id:
            raise InvalidInputError("item.item_id", f"must be {self.item_id!r}, as in item_id")

    @classmethod
    def put(cls, item: Item, *, revision: int, at: datetime) -> ItemChange:
        """An item is published, or described anew."""
        return cls(revision, at, ItemAction.PUT, item.item_id, item)

    @classmethod
    def removal(cls, item_id: str, *, revision: int, at: datetime) -> ItemChange:
        """An item is taken out of the catalogue."""
        return cls(revision, at, ItemAction.REMOVE, item_id, None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `from_json` reads them.

        Raises:
            InvalidInputError: A field is out of bounds; ``field`` is its dotted path.
        """
        document = document_json(self)
        read_document(ItemChange, document)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ItemChange:
        """Read an entry.

        Raises:
            InvalidInputError: It is of another format, or a field is missing, unknown or out of bounds;
                ``field`` is its dotted path.
        """
        if isinstance(document, Mapping) and document.get("schema") != ITEM_CHANGE_SCHEMA:
            raise InvalidInputError("schema", f"must be {ITEM_CHANGE_SCHEMA!r}, which this release reads")
        return read_document(cls, document)
