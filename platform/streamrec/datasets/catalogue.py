"""The catalogue: every item by row, with what is known of it from content alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Catalogue:
    """All items, one row each, sorted by item id.

    Attributes:
        item_ids: Length n, unique.
        titles: Length n.
        creator_ids: Length n.
        creator_languages: Length n; ``unknown`` where the source has none.
        topics: Length n; possibly empty tuples.
        published_at: Shape (n,), datetime64[s], NaT where unknown.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    creator_ids: tuple[str, ...]
    creator_languages: tuple[str, ...]
    topics: tuple[tuple[str, ...], ...]
    published_at: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row by item id."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Distinct creator languages, sorted."""
        return tuple(sorted(set(self.creator_languages)))

    @cached_property
    def language_codes(self) -> NDArray[np.int32]:
        """Shape (n,): position of each item's creator language in `languages`."""
        code_of = {language: code for code, language in enumerate(self.languages)}
        return np.array([code_of[language] for language in self.creator_languages], dtype=np.int32)

    def rows(self, item_ids: Iterable[str]) -> NDArray[np.int32]:
        """Rows of the known items among ``item_ids``, in their order; unknown ones are left out."""
        row_of = self.row_of
        return np.array([row_of[item_id] for item_id in item_ids if item_id in row_of], dtype=np.int32)
