"""Compaction: sealed segments become Parquet files, partitioned by kind and UTC date.

The order of the steps is what makes it safe to be cut off anywhere:

1. write the Parquet files under names that no state mentions yet;
2. replace the state, which names the new files and the segments they replace: the one moment of change;
3. remove the segments.

Cut off before 2, the files are leftovers that the next run removes; after 2, the next run removes the
segments, which readers skip because the state says that they are consumed.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from streamrec.contracts.errors import DependencyError
from streamrec.events.arrow_tables import to_table
from streamrec.events.compacted_state import (
    CompactedFile,
    CompactedState,
    load_state,
    parquet_folder,
    store_state,
)
from streamrec.events.records import Record, RecordKind, kind_of, partition_date
from streamrec.events.segments import SEALED_SUFFIX, read_segment, seal_abandoned, segments_folder
from streamrec.files import durable_files
from streamrec.files.locks import only_holder

_LOCK_FILE: Final = "compaction.lock"
_BATCH_BYTES: Final = 256 * 1024 * 1024
"""Segments taken into memory at once; at least one."""


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did.

    Attributes:
        segments: Segments that became Parquet.
        records: Records in them, repetitions included.
        corrupt_lines: Complete lines that could not be read; they are kept as quarantined records.
        recovered_segments: Segments that a dead writer had left open.
    """

    segments: int
    records: int
    corrupt_lines: int
    recovered_segments: int


def compact(root: Path) -> CompactionReport:
    """Turn all sealed segments, and those of dead writers, into Parquet. May be run at any time, by anyone.

    Raises:
        OverloadedError: Another compaction is running.
        DependencyError: The disk fails. Nothing is lost or doubled.
        ArtifactError: The state is damaged.
    """
    try:
        durable_files.make_folder(segments_folder(root))
        with only_holder(root / _LOCK_FILE, f"{root}: another compaction is running; wait for it to end"):
            recovered = seal_abandoned(root)
            state = _clean_up(root, load_state(root))
            segments = records = corrupt_lines = 0
            for batch in _batches(sorted(segments_folder(root).glob(f"*{SEALED_SUFFIX}"))):
                state, count, corrupt = _compact_batch(root, state, batch)
                segments += len(batch)
                records += count
                corrupt_lines += corrupt
    except (OSError, pa.ArrowException) as error:
        raise DependencyError(f"{root}: compaction failed: {error}") from error
    return CompactionReport(segments, records, corrupt_lines, len(recovered))


def _clean_up(root: Path, state: CompactedState) -> CompactedState:
    """Finish what a compaction that was cut off left undone."""
    folder = segments_folder(root)
    for name in state.consumed:
        durable_files.remove(folder / name)
    # On the disk before the names are forgotten: a segment that came back would count twice.
    durable_files.fsync_folder(folder)
    known = {root / file.path for file in state.files}
    for path in parquet_folder(root).glob("*/*/*"):
        if path not in known:
            durable_files.remove(path)
    return CompactedState(state.generation, state.files, frozenset(), state.corrupt_lines)


def _batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in paths:
        path_bytes = path.stat().st_size
        if batch and size + path_bytes > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += path_bytes
    if batch:
        yield batch


def _compact_batch(
    root: Path, state: CompactedState, batch: Sequence[Path]
) -> tuple[CompactedState, int, int]:
    partitions: dict[tuple[RecordKind, date], list[Record]] = defaultdict(list)
    count = corrupt_lines = 0
    for path in batch:
        with path.open("rb") as file:
            content = read_segment(file, sealed=True)
        count += len(content.records)
        corrupt_lines += content.corrupt_lines
        for record in content.records:
            partitions[kind_of(record), partition_date(record)].append(record)
    generation = state.generation + 1
    written = tuple(
        _write_parquet(root, generation, kind, day, partitions[kind, day])
        for kind, day in sorted(partitions, key=str)
    )
    state = CompactedState(
        generation=generation,
        files=tuple(itertools.chain(state.files, written)),
        consumed=state.consumed | {path.name for path in batch},
        corrupt_lines=state.corrupt_lines + corrupt_lines,
    )
    store_state(root, state)
    for path in batch:
        durable_files.remove(path)
    return state, count, corrupt_lines


def _write_parquet(
    root: Path, generation: int, kind: RecordKind, day: date, records: Sequence[Record]
) -> CompactedFile:
    folder = parquet_folder(root) / f"kind={kind.value}" / f"date={day.isoformat()}"
    durable_files.make_folder(folder)
    path = folder / f"part-{generation:010d}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(kind, records), sink, compression="zstd")
    content = sink.getvalue()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        durable_files.fsync_file(file.fileno())
    durable_files.fsync_folder(folder)
    digest = hashlib.sha256(content).hexdigest()
    return CompactedFile(path.relative_to(root).as_posix(), kind, day, len(records), digest)
