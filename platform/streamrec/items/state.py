"""What the item log says up to one revision. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from streamrec.contracts.items import Item, ItemChange


@dataclass(frozen=True)
class ItemState:
    """The last entry about every item that the log knows. Immutable.

    It says nothing of items that only an import brought: they are the base that the log stands on.

    Attributes:
        log_id: Of the log; empty before there is one. Revisions of two logs do not compare.
        revision: Of the newest entry; 0 without any.
        changes: The last entry by item id.
    """

    log_id: str = ""
    revision: int = 0
    changes: Mapping[str, ItemChange] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def items(self) -> Mapping[str, Item]:
        """The items that were put and not removed since."""
        return {item_id: change.item for item_id, change in self.changes.items() if change.item is not None}

    @cached_property
    def removed(self) -> frozenset[str]:
        """The items that were removed and not put since."""
        return frozenset(item_id for item_id, change in self.changes.items() if change.item is None)

    def after(self, log_id: str, changes: Iterable[ItemChange]) -> ItemState:
        """Return the state after later entries, which follow this one's revision in order."""
        latest, revision = dict(self.changes), self.revision
        for change in changes:
            latest[change.item_id], revision = change, change.revision
        return ItemState(log_id, revision, MappingProxyType(latest))
