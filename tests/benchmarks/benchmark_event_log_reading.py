"""Reading a day of a year against reading the same day alone, and a million impressions: processor time.

The year is simulated: every day holds as many impressions, with ids and times of its own, one Parquet file a
day as compaction leaves it. `--days` and `--impressions` make it smaller.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa

from streamrec.contracts.events import Impression, Propensity
from streamrec.contracts.slots import ServingRole
from streamrec.events.arrow_tables import SCHEMAS, to_table
from streamrec.events.compacted_state import CompactedState, store_state
from streamrec.events.parquet.parts import PartWriter
from streamrec.events.reader import FileEventReader
from streamrec.events.records import RecordKind
from streamrec.events.time_range import TimeRange

FIRST = date(2026, 1, 1)
SLATE = 10
ITEMS = 200_000
USERS = 300_000
ROUNDS = 5
MILLION = 1_000_000


def main() -> None:
    """Build both logs, then read them in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--impressions", type=int, default=10_000, help="impressions a day")
    options = parser.parse_args()
    rng = np.random.default_rng(20260301)
    middle = options.days // 2
    with tempfile.TemporaryDirectory() as folder:
        year, alone, million = (Path(folder) / name for name in ("year", "alone", "million"))
        build(year, range(options.days), options.impressions, rng)
        build(alone, [middle], options.impressions, rng)
        build(million, [middle], MILLION, rng)
        window = TimeRange.of_day(FIRST + timedelta(days=middle))
        for name, columns in (("all columns", None), ("item ids alone", ["item_ids"])):
            compare(name, year, alone, window, columns)
        for name, columns in (("all columns", None), ("item ids alone", ["item_ids"])):
            spent_s, rows = read(million, window, columns)
            print(f"{rows:,} impressions, {name}: {spent_s:.2f} s of processor time")


def compare(name: str, year: Path, alone: Path, window: TimeRange, columns: list[str] | None) -> None:
    """Print both, read in turns so that whatever else runs disturbs both."""
    spent_s: dict[Path, list[float]] = {year: [], alone: []}
    for _ in range(ROUNDS):
        for root in (year, alone):
            spent_s[root].append(read(root, window, columns)[0])
    of_year, of_day = median(spent_s[year]), median(spent_s[alone])
    print(
        f"a day, {name}: {of_year:.3f} s of processor time in the year, {of_day:.3f} s alone, "
        f"ratio {of_year / of_day:.2f}"
    )


def read(root: Path, window: TimeRange, columns: list[str] | None) -> tuple[float, int]:
    """Return processor time and rows of one read by a reader that knows nothing yet."""
    start_s = time.process_time()
    rows = FileEventReader(root).table(RecordKind.IMPRESSION, columns, window).num_rows
    return time.process_time() - start_s, rows


def build(root: Path, days: range | list[int], impressions: int, rng: np.random.Generator) -> None:
    """Write a compacted log."""
    root.mkdir()
    files = []
    for number, day in enumerate(days):
        with PartWriter(root, number + 1, RecordKind.IMPRESSION, FIRST + timedelta(days=day)) as part:
            part.add(a_day(day, impressions, rng))
            files.append(part.close())
    store_state(root, CompactedState(generation=len(files), files=tuple(files)))


def a_day(day: int, count: int, rng: np.random.Generator) -> pa.Table:
    """Return impressions like those of `Impression`, drawn as columns."""
    start = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC)
    example = Impression(
        request_id="r",
        unit="u",
        slot="search.ranking",
        role=ServingRole.CHAMPION,
        version="search-ranking@3",
        predicted_at=start,
        item_ids=tuple("i" * SLATE),
        scores=(0.0,) * SLATE,
        versions={"search.retrieval": "search-retrieval@2", "search.ranking": "search-ranking@3"},
        propensity=Propensity.certain(SLATE),
        state_digest="ab" * 32,
        extension={"schema": "search.impression.v1", "latency_ms": 12.5},
    )
    one = to_table(RecordKind.IMPRESSION, [example])
    offsets = pa.array(np.arange(0, count * SLATE + 1, SLATE, dtype=np.int32))
    moments = np.datetime64(start.replace(tzinfo=None), "us") + np.sort(
        rng.integers(0, 86_400_000_000, count)
    )
    drawn: dict[str, Callable[[], pa.Array]] = {
        "request_id": lambda: pa.array([f"{day:04d}-{number:032x}" for number in range(count)]),
        "unit": lambda: pa.array([f"user-{user}" for user in rng.integers(0, USERS, count)]),
        "predicted_at": lambda: pa.array(moments, SCHEMAS[RecordKind.IMPRESSION].field("predicted_at").type),
        "item_ids": lambda: pa.ListArray.from_arrays(
            offsets, pa.array([f"item-{item}" for item in rng.integers(0, ITEMS, count * SLATE)])
        ),
        "scores": lambda: pa.ListArray.from_arrays(offsets, pa.array(rng.random(count * SLATE))),
    }
    same = pa.array(np.zeros(count, dtype=np.int64))
    columns = [
        drawn[name]() if name in drawn else one[name].combine_chunks().take(same) for name in one.column_names
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS[RecordKind.IMPRESSION])


if __name__ == "__main__":
    main()
