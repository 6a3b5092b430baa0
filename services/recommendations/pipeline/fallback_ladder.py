"""The lower rungs of the fallback ladder: answers that need no model and no store."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.rungs import Rung
from streamrec.contracts.errors import NotReadyError
from streamrec.features.store import ItemCounts
from streamrec.items.state import ItemState


@dataclass(frozen=True, slots=True)
class FallbackAnswer:
    """Items to show when the models cannot answer.

    Attributes:
        item_ids: Best first, no duplicates, none of them seen.
        scores: Same length: the reciprocal of the position, because counts of different lists do not compare.
        rung: Where the first item came from.
    """

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    rung: Rung


@dataclass(frozen=True)
class FallbackLadder:
    """Every item by popularity, over all and by creator language. Immutable.

    Attributes:
        item_ids: Length n, in catalogue order.
        by_popularity: Shape (n,), int32: rows, most interactions first, ties in catalogue order.
        by_language: The same, within each creator language.
        revision: Of the item counts it was built from.
        changed: What the item log says of an item, by id: its language now, None where it was removed.
    """

    item_ids: tuple[str, ...]
    by_popularity: NDArray[np.int32]
    by_language: Mapping[str, NDArray[np.int32]]
    revision: str
    changed: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_counts(cls, counts: ItemCounts) -> Self:
        """Sort the whole catalogue once: 8 bytes an item, so no list can run out before the catalogue does.

        Raises:
            NotReadyError: The catalogue is empty.
        """
        if len(counts.item_ids) == 0:
            raise NotReadyError(
                "the catalogue is empty: import data and run 'streamrec features materialize'"
            )
        by_popularity = np.argsort(-counts.interaction_counts, kind="stable").astype(np.int32)
        codes = counts.language_codes[by_popularity]
        by_language = {
            language: by_popularity[codes == code] for code, language in enumerate(counts.languages)
        }
        return cls(counts.item_ids, by_popularity, MappingProxyType(by_language), counts.revision)

    def with_items(self, state: ItemState) -> Self:
        """Return the same lists with what the item log says: removed items gone, new ones at the end."""
        changed = {
            item_id: None if change.item is None else change.item.creator_language
            for item_id, change in state.changes.items()
        }
        return replace(self, changed=MappingProxyType(changed))

    def answer(self, *, language: str | None, seen: Container[str], count: int) -> FallbackAnswer:
        """Return popular items in the user's language, topped up with popular items of any language.

        Args:
            language: The user's language; one without items, or None, goes straight to the static list.
            seen: Items not to show. Its ``in`` should take constant time.
            count: Length of the answer; shorter only if the user has seen nearly the whole catalogue.
        """
        chosen: dict[str, None] = {}
        if language is not None:
            chosen = dict.fromkeys(islice(self._unseen(self._in_language(language), seen, ()), count))
        rung = Rung.POPULAR_IN_LANGUAGE if chosen else Rung.STATIC
        missing = count - len(chosen)
        if missing > 0:
            chosen.update(
                dict.fromkeys(islice(self._unseen(self._in_any_language(), seen, chosen.copy()), missing))
            )
        item_ids = tuple(chosen)
        return FallbackAnswer(
            item_ids, tuple(1.0 / (1 + position) for position in range(len(item_ids))), rung
        )

    def _in_language(self, language: str) -> Iterable[str]:
        """Items of the language, most popular first; what was put since the import comes last."""
        counted = (self.item_ids[row] for row in self.by_language.get(language, ()))
        return chain(
            (item_id for item_id in counted if self.changed.get(item_id, language) == language),
            (item_id for item_id, now in self.changed.items() if now == language),
        )

    def _in_any_language(self) -> Iterable[str]:
        counted = (self.item_ids[row] for row in self.by_popularity)
        return chain(
            (item_id for item_id in counted if self.changed.get(item_id, "") is not None),
            (item_id for item_id, now in self.changed.items() if now is not None),
        )

    @staticmethod
    def _unseen(item_ids: Iterable[str], seen: Container[str], chosen: Container[str]) -> Iterable[str]:
        """Those that are neither seen nor chosen, each once: what was put again stands in a list twice."""
        given: set[str] = set()
        for item_id in item_ids:
            if item_id not in seen and item_id not in chosen and item_id not in given:
                given.add(item_id)
                yield item_id
