"""Compaction: segments become Parquet, a day's parts become one, and what has expired or is erased goes.

The order of the steps is what makes it safe to be cut off anywhere:

1. write the Parquet files under names that no state mentions yet;
2. replace the state, which names the new files and the segments they replace: the one moment of change;
3. remove what was replaced.

Cut off before 2, the files are leftovers that the next run removes; after 2, the next run removes the
segments, which readers skip because the state says that they are consumed, and the parts that no state names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa

from streamrec.contracts.errors import DependencyError
from streamrec.events.arrow_tables import to_table
from streamrec.events.compacted_state import (
    CompactedFile,
    CompactedState,
    load_state,
    parquet_folder,
    store_state,
)
from streamrec.events.parquet import merging
from streamrec.events.parquet.parts import PartWriter
from streamrec.events.persons import persons_of
from streamrec.events.records import Record, RecordKind, kind_of, partition_date
from streamrec.events.segments import SEALED_SUFFIX, SegmentRecords, seal_abandoned, segments_folder
from streamrec.files import durable_files
from streamrec.files.locks import only_holder

LOCK_FILE: Final = "compaction.lock"

_BATCH_BYTES: Final = 64 * 1024 * 1024
"""Segments that become Parquet together; at least one. As Arrow they take about as much memory."""

_RECORDS_AT_ONCE: Final = 10_000
"""Records that are objects at once: these take several times the memory of their lines."""


def nobody(_person: str) -> bool:
    """Whether a person is erased, where none is."""
    return False


@dataclass(frozen=True, slots=True)
class CompactionSettings:
    """What a compaction does beside turning segments into Parquet.

    Attributes:
        retention: How long a record is kept after its day; None: for ever.
        merge_parts: The parts of the day that is not over are merged when there are so many; those of earlier
            days whenever there are two.
        part_bytes: Parts are merged up to this size, so that merging is bounded however much a day holds.
        is_erased: Whether a person has been erased, whose records must go.
    """

    retention: timedelta | None = None
    merge_parts: int = 16
    part_bytes: int = 128 * 1024 * 1024
    is_erased: Callable[[str], bool] = nobody

    def __post_init__(self) -> None:
        if self.merge_parts < 2 or self.part_bytes < 1:
            raise ValueError("merging needs two parts and room for one byte")
        if self.retention is not None and self.retention < timedelta(days=1):
            raise ValueError("the retention must be a day or more")

    def first_kept_day(self, now: datetime) -> date:
        """Return the earliest day whose records are kept."""
        if self.retention is None:
            return date.min
        try:
            return (now.astimezone(UTC) - self.retention).date()
        except OverflowError:
            return date.min


KEEP_EVERYTHING: Final = CompactionSettings()


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did.

    Attributes:
        segments: Segments that became Parquet.
        records: Records in them, repetitions included.
        corrupt_lines: Complete lines that could not be read; they are kept as quarantined records.
        recovered_segments: Segments that a dead writer had left open.
        merged_parts: Parts that became part of a larger one.
        expired_records: Records that were older than the retention, and are gone.
        erased_records: Records of erased persons that were in segments, and are gone.
    """

    segments: int = 0
    records: int = 0
    corrupt_lines: int = 0
    recovered_segments: int = 0
    merged_parts: int = 0
    expired_records: int = 0
    erased_records: int = 0


def compact(
    root: Path,
    settings: CompactionSettings = KEEP_EVERYTHING,
    *,
    now: datetime | None = None,
    lock_timeout_s: float = 0.0,
) -> CompactionReport:
    """Compact the log. May be run at any time, by anyone; its memory does not grow with the log.

    Args:
        root: The folder of the event log.
        settings: What is merged, and what goes.
        now: By the platform's clock; the system's where None.
        lock_timeout_s: How long to wait for another compaction to end.

    Raises:
        OverloadedError: Another compaction is running.
        DependencyError: The disk fails. Nothing is lost or doubled.
        ArtifactError: The state, or a part that would be merged, is damaged.
    """
    now = now or datetime.now(UTC)
    try:
        durable_files.make_folder(segments_folder(root))
        held = f"{root}: another compaction is running; wait for it to end"
        with only_holder(root / LOCK_FILE, held, timeout_s=lock_timeout_s):
            recovered = seal_abandoned(root)
            state = clean_up(root, load_state(root))
            first_day = settings.first_kept_day(now)
            report = CompactionReport(recovered_segments=len(recovered))
            for batch in _batches(sorted(segments_folder(root).glob(f"*{SEALED_SUFFIX}"))):
                state, report = _compact_batch(root, state, batch, report, settings, first_day)
            state, expired = merging.expire(root, state, first_day)
            merged = 0
            for group in merging.groups(
                root,
                state,
                today=now.astimezone(UTC).date(),
                at_least=settings.merge_parts,
                part_bytes=settings.part_bytes,
            ):
                state = merging.merge(root, state, group)
                merged += len(group)
    except (OSError, pa.ArrowException) as error:
        raise DependencyError(f"{root}: compaction failed: {error}") from error
    return replace(report, merged_parts=merged, expired_records=report.expired_records + expired)


def clean_up(root: Path, state: CompactedState) -> CompactedState:
    """Finish what a compaction that was cut off left undone. The caller holds the lock. Raises `OSError`."""
    folder = segments_folder(root)
    for name in state.consumed:
        durable_files.remove(folder / name)
    # On the disk before the names are forgotten: a segment that came back would count twice.
    durable_files.fsync_folder(folder)
    known = {root / file.path for file in state.files}
    for path in parquet_folder(root).glob("*/*/*"):
        if path not in known:
            durable_files.remove(path)
    return replace(state, consumed=frozenset())


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
    root: Path,
    state: CompactedState,
    batch: Sequence[Path],
    report: CompactionReport,
    settings: CompactionSettings,
    first_day: date,
) -> tuple[CompactedState, CompactionReport]:
    partitions = _Partitions()
    records = corrupt_lines = expired = erased = 0
    for path in batch:
        with path.open("rb") as file:
            content = SegmentRecords(file, sealed=True)
            for record in content:
                records += 1
                if partition_date(record) < first_day:
                    expired += 1
                elif any(map(settings.is_erased, persons_of(record))):
                    erased += 1
                else:
                    partitions.add(record)
            corrupt_lines += content.corrupt_lines
    generation = state.generation + 1
    written = tuple(
        _written(root, generation, kind, day, tables) for kind, day, tables in partitions.tables()
    )
    state = CompactedState(
        generation=generation,
        files=(*state.files, *written),
        consumed=state.consumed | {path.name for path in batch},
        corrupt_lines=state.corrupt_lines + corrupt_lines,
    )
    store_state(root, state)
    for path in batch:
        durable_files.remove(path)
    return state, replace(
        report,
        segments=report.segments + len(batch),
        records=report.records + records,
        corrupt_lines=report.corrupt_lines + corrupt_lines,
        expired_records=report.expired_records + expired,
        erased_records=report.erased_records + erased,
    )


class _Partitions:
    """Records by kind and day: a few as objects, the others as Arrow."""

    def __init__(self) -> None:
        self._records: dict[tuple[RecordKind, date], list[Record]] = defaultdict(list)
        self._tables: dict[tuple[RecordKind, date], list[pa.Table]] = defaultdict(list)
        self._waiting = 0

    def add(self, record: Record) -> None:
        self._records[kind_of(record), partition_date(record)].append(record)
        self._waiting += 1
        if self._waiting >= _RECORDS_AT_ONCE:
            self._flush()

    def tables(self) -> Iterator[tuple[RecordKind, date, list[pa.Table]]]:
        self._flush()
        for kind, day in sorted(self._tables, key=str):
            yield kind, day, self._tables[kind, day]

    def _flush(self) -> None:
        for (kind, day), records in self._records.items():
            self._tables[kind, day].append(to_table(kind, records))
        self._records.clear()
        self._waiting = 0


def _written(
    root: Path, generation: int, kind: RecordKind, day: date, tables: Sequence[pa.Table]
) -> CompactedFile:
    with PartWriter(root, generation, kind, day) as part:
        part.add(pa.concat_tables(tables))
        return part.close()
