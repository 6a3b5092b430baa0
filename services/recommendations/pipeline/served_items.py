"""The catalogue as a request sees it: which items there are, and the answers that need no model."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.contracts.stages import StageReply
from services.recommendations.pipeline.fallback_ladder import FallbackLadder
from streamrec.features.store import ItemCounts, ItemTable
from streamrec.items.state import ItemState


@dataclass(frozen=True)
class KnownItems(Collection[str]):
    """The ids of a catalogue with what the item log says of it; a look-up takes constant time.

    Attributes:
        imported: Of the materialised catalogue.
        state: What was put and removed since.
    """

    imported: Collection[str]
    state: ItemState

    def __contains__(self, item_id: object) -> bool:
        if item_id in self.state.items:
            return True
        return item_id in self.imported and item_id not in self.state.removed

    def __iter__(self) -> Iterator[str]:
        yield from (item_id for item_id in self.imported if item_id not in self.state.changes)
        yield from self.state.items

    def __len__(self) -> int:
        replaced = sum(item_id in self.imported for item_id in self.state.changes)
        return len(self.imported) - replaced + len(self.state.items)


@dataclass(frozen=True)
class EverKnownItems(Container[str]):
    """The ids that users may say they did something with: what was removed a moment ago was shown before.

    Attributes:
        known: Ids that may be shown now.
        state: What the item log says.
    """

    known: Collection[str]
    state: ItemState

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.known or item_id in self.state.removed


@dataclass(frozen=True)
class ServedItems:
    """The catalogue as of one revision of the item log. Immutable: a request holds on to one.

    Attributes:
        ladder: Answers without a model.
        known: Ids of the items that may be shown.
        state: What the item log says.
    """

    ladder: FallbackLadder
    known: Collection[str]
    state: ItemState

    @classmethod
    def from_item_table(cls, table: ItemTable) -> Self:
        """The materialised catalogue alone.

        Raises:
            NotReadyError: It is empty.
        """
        return cls.from_counts(ItemCounts.of_table(table))

    @classmethod
    def from_counts(cls, counts: ItemCounts) -> Self:
        """The same from what it takes alone.

        Raises:
            NotReadyError: It is empty.
        """
        return cls(FallbackLadder.from_counts(counts), counts.row_of, ItemState())

    @property
    def revision(self) -> int:
        """Of the item log; 0 is the materialised catalogue alone."""
        return self.state.revision

    @property
    def ever_known(self) -> Container[str]:
        """The known items and those that were removed since."""
        return EverKnownItems(self.known, self.state) if self.state.removed else self.known

    def as_of(self, state: ItemState) -> Self:
        """Return the materialised catalogue with what the log says; costs what the log's items do."""
        if not state.changes:
            return replace(self, state=state)
        known = KnownItems(self.known, state)
        return replace(self, ladder=self.ladder.with_items(state), known=known, state=state)

    def admitted(self, reply: StageReply) -> StageReply:
        """Return what a stage found without the items that are removed by now.

        A stage that is ahead of this catalogue may find items that are not known here yet: they are left out
        too. What else is unknown stays in, for the check of the answer to refuse it.
        """
        item_ids = reply.candidates.item_ids
        is_ahead = reply.item_revision > self.revision
        if not is_ahead and self.state.removed.isdisjoint(item_ids):
            return reply
        kept = [
            position
            for position, item_id in enumerate(item_ids)
            if item_id not in self.state.removed and (not is_ahead or item_id in self.known)
        ]
        candidates = Candidates(
            tuple(item_ids[position] for position in kept), np.asarray(reply.candidates.scores)[kept]
        )
        return replace(reply, candidates=candidates)
