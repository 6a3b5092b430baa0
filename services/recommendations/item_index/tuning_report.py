"""What `services.recommendations.item_index.tuning` measures and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from services.recommendations.contracts.candidates import CANDIDATE_COUNT
from services.recommendations.item_index.settings import IndexChoice, IndexKind, IndexSettings
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval

_SHORT: Final = {
    "list_count": "lists",
    "probe_count": "probes",
    "rescored_share": "rescored",
    "neighbour_count": "neighbours",
    "search_depth": "depth",
}


@dataclass(frozen=True, slots=True)
class TuningLimits:
    """What an index must reach to be chosen.

    Attributes:
        minimum_recall: The lower bound of the mean recall must reach it.
        confidence: Of the two-sided interval of the mean recall.
        maximum_memory_bytes: Structure and whole vectors together.
        candidate_count: Items that one query asks for.
    """

    minimum_recall: float = 0.99
    confidence: float = 0.95
    maximum_memory_bytes: int = 1 << 30
    candidate_count: int = CANDIDATE_COUNT

    def __post_init__(self) -> None:
        for name in ("minimum_recall", "confidence"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise InvalidInputError(f"limits.{name}", "must be between 0 and 1")
        for name in ("maximum_memory_bytes", "candidate_count"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"limits.{name}", "must be 1 or more")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One index with one way of searching it.

    Attributes:
        settings: What was built and how it was searched.
        recall: Mean share of the exact answer that was found, with its interval over users.
        median_ms: Of one query.
        p99_ms: Of one query.
        memory_bytes: Structure and whole vectors together.
        build_s: Seconds to build, shared by those that only differ in the search.
    """

    settings: IndexSettings
    recall: Interval
    median_ms: float
    p99_ms: float
    memory_bytes: int
    build_s: float

    def reaches(self, limits: TuningLimits) -> bool:
        """Whether recall, by its lower bound, and memory are within the limits."""
        return self.recall.low >= limits.minimum_recall and self.memory_bytes <= limits.maximum_memory_bytes

    @property
    def parameters(self) -> Mapping[str, float]:
        """The settings that matter to this kind, by name."""
        settings = self.settings
        lists = {"list_count": settings.list_count, "probe_count": settings.probe_count}
        of_kind: Mapping[IndexKind, Mapping[str, float]] = {
            IndexKind.EXACT: {},
            IndexKind.IVF_FLAT: lists,
            IndexKind.IVF_SQ8: {**lists, "rescored_share": settings.rescored_share},
            IndexKind.HNSW: {
                "neighbour_count": settings.neighbour_count,
                "search_depth": settings.search_depth,
            },
        }
        return of_kind[settings.kind]

    @property
    def label(self) -> str:
        """For people: ``ivf_flat, 1024 lists, 64 probes``."""
        parts = [f"{value:g} {_SHORT[name]}" for name, value in self.parameters.items()]
        return ", ".join([self.settings.kind.value, *parts])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.settings.kind.value,
            "parameters": dict(self.parameters),
            "recall": self.recall.to_json(),
            "median_ms": self.median_ms,
            "p99_ms": self.p99_ms,
            "memory_bytes": self.memory_bytes,
            "build_s": self.build_s,
        }


@dataclass(frozen=True)
class TuningReport:
    """What was measured and what was chosen.

    Attributes:
        item_count: Items searched.
        dimension: Length of the vectors.
        limits: What had to be reached.
        exact: Exact search on the users that the choice was made on.
        measurements: All of them, on the same users, exact search first.
        chosen: The choice on the other users; exact search where nothing reaches the limits.
        chosen_exact: Exact search on the other users.
    """

    item_count: int
    dimension: int
    limits: TuningLimits
    measurements: Sequence[Measurement]
    chosen: Measurement
    chosen_exact: Measurement

    @property
    def exact(self) -> Measurement:
        """Exact search on the users that the choice was made on."""
        return self.measurements[0]

    @property
    def reaches_limits(self) -> bool:
        """Whether the choice reaches the limits on the users that it was not made on."""
        return self.chosen.reaches(self.limits)

    def choice(self) -> IndexChoice:
        """What training should build.

        Approximation was measured at this size alone, so a catalogue of less than half of it is searched
        exactly; and where exact search won, that is known up to this size.
        """
        settings = self.chosen.settings
        if settings.kind is IndexKind.EXACT:
            default = IndexSettings()
            settings = replace(default, exact_limit=max(default.exact_limit, self.item_count))
        else:
            settings = replace(settings, exact_limit=self.item_count // 2)
        return IndexChoice(settings, self.item_count, self._evidence())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **self._evidence(),
            "item_count": self.item_count,
            "measurements": [measurement.to_json() for measurement in self.measurements],
        }

    def _evidence(self) -> dict[str, Any]:
        return {
            "dimension": self.dimension,
            "candidate_count": self.limits.candidate_count,
            "minimum_recall": self.limits.minimum_recall,
            "chosen": self.chosen.to_json(),
            "exact": self.chosen_exact.to_json(),
            "time_share_of_exact": self.chosen.median_ms / self.chosen_exact.median_ms,
        }
