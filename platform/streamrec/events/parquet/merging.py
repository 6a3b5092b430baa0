"""What happens to Parquet parts after they were written: merged, expired, rewritten without a person.

Every function makes one new state, stores it, and removes what it replaced; the caller holds the lock of the
compaction. What raises `OSError` has lost nothing: the next compaction cleans up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa

from streamrec.events.compacted_state import CompactedFile, CompactedState, store_state
from streamrec.events.parquet.parts import PartReader, PartWriter
from streamrec.events.records import RecordKind
from streamrec.files import durable_files


def expire(root: Path, state: CompactedState, first_day: date) -> tuple[CompactedState, int]:
    """Remove the parts of all days before ``first_day``; return the number of their records too."""
    expired = [file for file in state.files if file.date < first_day]
    if not expired:
        return state, 0
    return replaced(root, state, expired, ()), sum(file.rows for file in expired)


def groups(
    root: Path, state: CompactedState, *, today: date, at_least: int, part_bytes: int
) -> Iterator[list[CompactedFile]]:
    """Yield parts of one kind and day that belong together in one file.

    Args:
        root: The folder of the event log.
        state: Which parts there are.
        today: Parts of this day wait until there are ``at_least`` of them: each merge writes them anew.
        at_least: How many.
        part_bytes: What the parts of a group have together at most; a part of half that size is left alone.
    """
    days: dict[tuple[RecordKind, date], list[tuple[int, CompactedFile]]] = defaultdict(list)
    for file in state.files:
        size = (root / file.path).stat().st_size
        if size < part_bytes // 2:
            days[file.kind, file.date].append((size, file))
    for (_, day), parts in days.items():
        if len(parts) < (2 if day < today else at_least):
            continue
        group: list[CompactedFile] = []
        total = 0
        for size, file in parts:
            if group and total + size > part_bytes:
                if len(group) > 1:
                    yield group
                group, total = [], 0
            group.append(file)
            total += size
        if len(group) > 1:
            yield group


def merge(root: Path, state: CompactedState, parts: Sequence[CompactedFile]) -> CompactedState:
    """Make one part of several of one kind and day, row group by row group, in today's form.

    Raises:
        ArtifactError: A part is damaged; nothing was changed.
    """
    return replaced(root, state, parts, (_rewritten(root, state.generation + 1, parts, lambda table: table),))


def rewrite(
    root: Path, state: CompactedState, part: CompactedFile, kept: Callable[[pa.Table], pa.Table]
) -> CompactedState:
    """Replace a part by one with the rows that ``kept`` returns; by none where there are none.

    Raises:
        ArtifactError: The part is damaged; nothing was changed.
    """
    new = _rewritten(root, state.generation + 1, [part], kept)
    state = replaced(root, state, [part], (new,) if new.rows else ())
    if not new.rows:
        durable_files.remove(root / new.path)
    return state


def replaced(
    root: Path, state: CompactedState, old: Sequence[CompactedFile], new: Sequence[CompactedFile]
) -> CompactedState:
    """Store the state with ``new`` parts in place of ``old`` ones, and remove the old ones' files."""
    gone = set(old)
    files = (*(file for file in state.files if file not in gone), *new)
    state = replace(state, generation=state.generation + 1, files=files)
    store_state(root, state)
    for file in old:
        durable_files.remove(root / file.path)
    return state


def _rewritten(
    root: Path,
    generation: int,
    parts: Sequence[CompactedFile],
    kept: Callable[[pa.Table], pa.Table],
) -> CompactedFile:
    reader = PartReader(root)
    with PartWriter(root, generation, parts[0].kind, parts[0].date) as written:
        for part in parts:
            for table in reader.open(part).row_groups():
                written.add(kept(table))
        return written.close()
