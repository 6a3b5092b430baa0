"""Which group each row belongs to: by every attribute of a policy, and by their intersections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.fairness_policy import LARGEST, FairnessPolicy

MISSING: Final = "(missing)"
"""The group of the rows that do not say; those who say nothing may be those who are treated worst."""

AND: Final = " & "

MAXIMUM_GROUPS: Final = 1_000
"""Of one attribute or intersection: more are no groups of people but ids."""

_MAXIMUM_NAME: Final = 200


@dataclass(frozen=True, eq=False, slots=True)
class Partition:
    """Rows by group.

    Attributes:
        attributes: One, or several for an intersection.
        names: Of the groups, such as ``sex=F`` or ``sex=F & age=30s``.
        codes: Shape (rows,), int64: into ``names``; -1 for rows of an intersection that miss an attribute.
    """

    attributes: tuple[str, ...]
    names: tuple[str, ...]
    codes: NDArray[np.int64]

    @property
    def title(self) -> str:
        """The attributes, as they stand in names of groups."""
        return AND.join(self.attributes)


def partitions(columns: Mapping[str, Any], policy: FairnessPolicy) -> Iterator[Partition]:
    """Yield the rows by each attribute that there is, then by each intersection whose attributes there are.

    Args:
        columns: By attribute: text or None, shape (rows,); NumPy or Arrow.
        policy: Names attributes and intersections.

    Raises:
        InvalidInputError: An attribute has more than `MAXIMUM_GROUPS` names.
    """
    single = {name: _by_attribute(name, columns[name]) for name in policy.attributes if name in columns}
    yield from single.values()
    for wanted in policy.intersections:
        if all(name in single for name in wanted):
            yield _crossed([single[name] for name in wanted])


def is_missing(name: str) -> bool:
    """Whether it is the group of those who do not say."""
    return name.endswith(f"={MISSING}")


def reference_of(sizes: Mapping[str, int], title: str, policy: FairnessPolicy) -> str | None:
    """The group that the others are compared with; None where there is no group.

    Args:
        sizes: Rows by name of the group.
        title: Of the partition.
        policy: Names the reference, or the rule.
    """
    if policy.reference != LARGEST:
        for name in (policy.reference, f"{title}={policy.reference}"):
            if name in sizes:
                return name
    known = [name for name in sizes if not is_missing(name)]
    return min(known, key=lambda name: (-sizes[name], name), default=None)


def _by_attribute(attribute: str, column: Any) -> Partition:
    texts = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column, pa.string())
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    encoded = pc.dictionary_encode(pc.fill_null(texts, MISSING))
    found = [str(name) for name in encoded.dictionary.to_pylist()]
    refuse_ids(attribute, len(found))
    # An empty cell of a CSV file says as little as none.
    labels = [MISSING if not name.strip() else " ".join(name.split())[:_MAXIMUM_NAME] for name in found]
    names = sorted(set(labels))
    number = {name: code for code, name in enumerate(names)}
    place = np.array([number[label] for label in labels], dtype=np.int64)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Partition(
        (attribute,),
        tuple(f"{attribute}={name}" for name in names),
        place[codes] if len(place) else codes,
    )


def _crossed(parts: Sequence[Partition]) -> Partition:
    codes = np.zeros(len(parts[0].codes), dtype=np.int64)
    complete = np.ones(len(codes), dtype=bool)
    for part in parts:
        codes = codes * len(part.names) + part.codes
        missing = np.array([is_missing(name) for name in part.names])
        complete &= ~missing[part.codes]
    found, compact = np.unique(codes[complete], return_inverse=True)
    attributes = tuple(name for part in parts for name in part.attributes)
    refuse_ids(AND.join(attributes), len(found))
    names = []
    for code in found.tolist():
        chosen: list[str] = []
        for part in reversed(parts):
            code, place = divmod(code, len(part.names))
            chosen.insert(0, part.names[place])
        names.append(AND.join(chosen))
    placed = np.full(len(codes), -1, dtype=np.int64)
    placed[complete] = compact
    return Partition(attributes, tuple(names), placed)


def refuse_ids(attribute: str, count: int) -> None:
    """Raise `InvalidInputError` where a column has more names than there are groups of people."""
    if count > MAXIMUM_GROUPS:
        raise InvalidInputError(
            f"groups.{attribute}",
            f"has more than {MAXIMUM_GROUPS} different values: name a column of groups, not of ids",
        )
