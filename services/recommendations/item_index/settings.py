"""How the items are searched, and the one file that says so.

The owner of the choice is the file that `streamrec recommendations index tune` writes into the workspace:
training reads it, and what it says becomes part of the retrieval version's settings. Without it the defaults
below hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from streamrec.contracts.errors import ArtifactError, InvalidInputError

_FORMAT: Final = 1
_MOST: Final = 1 << 20
"""Bound of every count in here: beyond any catalogue that one machine holds."""


class IndexKind(StrEnum):
    """What FAISS builds (Johnson et al. 2019, "Billion-scale similarity search with GPUs")."""

    EXACT = "exact"
    """Every query looks at every vector."""
    IVF_FLAT = "ivf_flat"
    """Inverted lists around k-means centres; whole vectors."""
    IVF_SQ8 = "ivf_sq8"
    """The same with one byte a dimension; what is found is scored again with whole vectors."""
    HNSW = "hnsw"
    """A graph of neighbours in layers (Malkov and Yashunin 2018)."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How the items are searched.

    Attributes:
        exact_limit: Up to this many items the search is exact, whatever the kind.
        kind: What is built above `exact_limit`.
        list_count: Inverted lists of an IVF index; fewer where the items would not fill them.
        probe_count: Lists that one query looks into; more where a long history uses them up.
        rescored_share: An IVF_SQ8 index is asked for this many times the items wanted, and those are scored
            again with their whole vectors.
        neighbour_count: Neighbours of a node in a graph; M in the paper.
        construction_depth: Nodes looked at to place a new one in the graph; efConstruction.
        search_depth: Nodes that one query keeps; efSearch. Never fewer than the items asked for.
        thread_count: OpenMP threads of one search: a replica answers many requests at once, so one.
        seed: Of the k-means behind the lists.
    """

    exact_limit: int = 50_000
    kind: IndexKind = IndexKind.IVF_SQ8
    list_count: int = 1024
    probe_count: int = 128
    rescored_share: float = 1.2
    neighbour_count: int = 32
    construction_depth: int = 80
    search_depth: int = 512
    thread_count: int = 1
    seed: int = 7

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", IndexKind(self.kind))
        except ValueError:
            kinds = ", ".join(IndexKind)
            raise InvalidInputError("index.kind", f"{self.kind!r} is none of {kinds}") from None
        for name in (
            "list_count",
            "probe_count",
            "neighbour_count",
            "construction_depth",
            "search_depth",
            "thread_count",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= _MOST:
                raise InvalidInputError(f"index.{name}", f"must be a whole number in 1..{_MOST}")
        if self.neighbour_count < 2:  # FAISS divides by the logarithm of it
            raise InvalidInputError("index.neighbour_count", "must be 2 or more")
        if not isinstance(self.exact_limit, int) or self.exact_limit < 0:
            raise InvalidInputError("index.exact_limit", "must be a whole number, 0 or more")
        if not (math.isfinite(self.rescored_share) and 1.0 <= self.rescored_share <= 100.0):
            raise InvalidInputError("index.rescored_share", "must be in 1..100")

    def builds_the_same_as(self, other: IndexSettings) -> bool:
        """Whether an index built with ``other`` can be searched with these: only the search differs."""
        return self._built_with() == other._built_with()

    def _built_with(self) -> tuple[object, ...]:
        lists = (self.list_count, self.seed)
        of_kind: Mapping[IndexKind, tuple[int, ...]] = {
            IndexKind.EXACT: (),
            IndexKind.IVF_FLAT: lists,
            IndexKind.IVF_SQ8: lists,
            IndexKind.HNSW: (self.neighbour_count, self.construction_depth),
        }
        return (self.exact_limit, self.kind, *of_kind[self.kind])


@dataclass(frozen=True, slots=True)
class IndexChoice:
    """Settings that a measurement chose, and on what.

    Attributes:
        settings: What training builds.
        item_count: Items that it was measured on.
        evidence: The figures behind it, plain JSON values; for people, nothing reads them.
    """

    settings: IndexSettings
    item_count: int
    evidence: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def fits(self, item_count: int) -> bool:
        """Whether a catalogue is within a factor of two of the measured one, or searched exactly."""
        return (
            item_count <= self.settings.exact_limit
            or self.item_count / 2 <= item_count <= 2 * self.item_count
        )

    def to_json(self) -> dict[str, Any]:
        """The document that `read_choice` reads."""
        return {
            "format": _FORMAT,
            "settings": asdict(self.settings),
            "item_count": self.item_count,
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ArtifactError: It is of another format, or a value is missing, of another type or out of range.
        """
        try:
            if document["format"] != _FORMAT:
                raise ArtifactError(f"of format {document['format']!r}; this release reads {_FORMAT}")
            settings = IndexSettings(**document["settings"])
            item_count = int(document["item_count"])
            evidence = dict(document.get("evidence", {}))
        except (KeyError, TypeError, ValueError, InvalidInputError) as error:
            raise ArtifactError(f"not a choice of index: {error}") from error
        return cls(settings, item_count, evidence)


def read_choice(path: Path) -> IndexChoice | None:
    """Read the choice; None where none was made.

    Raises:
        ArtifactError: The file is there and cannot be used; says what to do about it.
    """
    try:
        return IndexChoice.from_json(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ArtifactError) as error:
        raise ArtifactError(
            f"{path}: {error}; delete it for the defaults, or choose again: "
            "'streamrec recommendations index tune'"
        ) from error
