"""The lower rungs of the fallback ladder: answers that need no model and no store."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.rungs import Rung
from streamrec.contracts.errors import NotReadyError
from streamrec.features.store import ItemTable


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
        revision: Of the item table it was built from.
    """

    item_ids: tuple[str, ...]
    by_popularity: NDArray[np.int32]
    by_language: Mapping[str, NDArray[np.int32]]
    revision: str

    @classmethod
    def from_item_table(cls, table: ItemTable) -> Self:
        """Sort the whole catalogue once: 8 bytes an item, so no list can run out before the catalogue does.

        Raises:
            NotReadyError: The catalogue is empty.
        """
        catalogue = table.catalogue
        if len(catalogue) == 0:
            raise NotReadyError(
                "the catalogue is empty: import data and run 'streamrec features materialize'"
            )
        by_popularity = np.argsort(-table.interaction_counts, kind="stable").astype(np.int32)
        codes = catalogue.language_codes[by_popularity]
        by_language = {
            language: by_popularity[codes == code] for code, language in enumerate(catalogue.languages)
        }
        return cls(catalogue.item_ids, by_popularity, MappingProxyType(by_language), table.revision)

    def answer(self, *, language: str | None, seen: Container[str], count: int) -> FallbackAnswer:
        """Return popular items in the user's language, topped up with popular items of any language.

        Args:
            language: The user's language; one without items, or None, goes straight to the static list.
            seen: Items not to show. Its ``in`` should take constant time.
            count: Length of the answer; shorter only if the user has seen nearly the whole catalogue.
        """
        chosen: dict[str, None] = {}
        local = self.by_language.get(language) if language is not None else None
        if local is not None:
            chosen = dict.fromkeys(islice(self._unseen(local, seen, ()), count))
        rung = Rung.POPULAR_IN_LANGUAGE if chosen else Rung.STATIC
        missing = count - len(chosen)
        if missing > 0:
            chosen.update(
                dict.fromkeys(islice(self._unseen(self.by_popularity, seen, chosen.copy()), missing))
            )
        item_ids = tuple(chosen)
        return FallbackAnswer(
            item_ids, tuple(1.0 / (1 + position) for position in range(len(item_ids))), rung
        )

    def _unseen(self, rows: NDArray[np.int32], seen: Container[str], chosen: Container[str]) -> Iterable[str]:
        for row in rows:
            item_id = self.item_ids[row]
            if item_id not in seen and item_id not in chosen:
                yield item_id
