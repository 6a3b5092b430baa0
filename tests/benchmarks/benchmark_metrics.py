"""Metrics of a log of a million events: the first time, once its days are kept, and the memory that it takes.

Three of four events are slates of ten items, one is a click or play that belongs to one; 30,000 users over
ten days, compacted. `--events`, `--days` and `--users` change that. Prints wall and processor time of each
computation in a process of its own, and its peak memory above that of importing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from streamrec.contracts.events import Impression, Propensity
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.slots import ServingRole
from streamrec.events.arrow_tables import SCHEMAS, to_table
from streamrec.events.compacted_state import CompactedState, store_state
from streamrec.events.parquet.parts import PartWriter
from streamrec.events.reader import FileEventReader
from streamrec.events.records import RecordKind
from streamrec.metrics.catalogue import platform_catalogue
from streamrec.metrics.computation import MetricSources, compute
from streamrec.metrics.statistics_files import StatisticsFolder
from streamrec.metrics.unit_segments import TableSegments

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
SLATE = 10
ITEMS = 20_000
METRICS = (
    ("click_rate", ()),
    ("click_rate", ("version",)),
    ("plays_per_user", ("version",)),
    ("latency_p99_ms", ("version",)),
)


def main() -> None:
    """Make the log, compute each metric twice in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Path(options.measure[0]), options.days, options.measure[1], tuple(options.measure[2:]))
        return
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "events", options.days, options.events // options.days, options.users)
        for name, by in METRICS:
            for when in ("first", "kept"):
                command = [
                    sys.executable,
                    __file__,
                    "--days",
                    str(options.days),
                    "--measure",
                    folder,
                    name,
                    *by,
                ]
                found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                print(
                    f"{name:16} by {','.join(by) or 'nothing':8} {when:5}: {found['wall_s']:6.2f} s, "
                    f"{found['processor_s']:6.2f} s of processor time, {found['memory_mb']:5.0f} MB, "
                    f"{found['computed']} of {options.days} days computed, {found['units']:,} units"
                )


def measure(root: Path, days: int, name: str, by: tuple[str, ...]) -> None:
    """Compute once and print what it took."""
    catalogue = platform_catalogue()
    no_segments = TableSegments(lambda: pa.table({"user_id": pa.array([], pa.string())}), "user_id")
    sources = MetricSources(
        events=FileEventReader(root / "events", remembers_segments=True),
        segments=no_segments,
        kept=StatisticsFolder(root / "kept"),
        is_erased=lambda _: False,
    )
    before_kb = peak_kb()
    wall_s, processor_s = time.perf_counter(), time.process_time()
    figures = compute(
        catalogue.metric(name),
        catalogue,
        sources,
        start=FIRST,
        end=FIRST + timedelta(days=days),
        by=by,
        now=FIRST + timedelta(days=days + 30),
        progress=SilentProgress(),
    )
    found = {
        "wall_s": time.perf_counter() - wall_s,
        "processor_s": time.process_time() - processor_s,
        "memory_mb": (peak_kb() - before_kb) / 1024,
        "computed": figures.computed_days,
        "units": max(figure.statistics.moments.units for figure in figures.figures),
    }
    print(json.dumps(found))


def peak_kb() -> int:
    """Most memory that this process has held. The system's own figure counts what its parent held too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def build(root: Path, days: int, events: int, users: int) -> None:
    """Write a compacted log: a day's impressions and outcomes in one part each."""
    rng = np.random.default_rng(20260301)
    root.mkdir()
    files = []
    for day in range(days):
        shown, happened = a_day(day, events * 3 // 4, events // 4, users, rng)
        for kind, table in ((RecordKind.IMPRESSION, shown), (RecordKind.OUTCOME, happened)):
            generation = len(files) + 1
            with PartWriter(root, generation, kind, (FIRST + timedelta(days=day)).date()) as part:
                part.add(table)
                files.append(part.close())
    store_state(root, CompactedState(generation=len(files), files=tuple(files)))


def a_day(
    day: int, answers: int, actions: int, users: int, rng: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """Draw impressions and outcomes of a day as columns; an action follows its slate within an hour."""
    example = Impression(
        request_id="r",
        unit="u",
        slot="search.ranking",
        role=ServingRole.CHAMPION,
        version="search-ranking@3",
        predicted_at=FIRST,
        item_ids=tuple("i" * SLATE),
        scores=(0.0,) * SLATE,
        versions={"search.retrieval": "search-retrieval@2", "search.ranking": "search-ranking@3"},
        propensity=Propensity.certain(SLATE),
        state_digest="ab" * 32,
    )
    one = to_table(RecordKind.IMPRESSION, [example])
    moments = day * DAY_US + np.sort(rng.integers(0, DAY_US - DAY_US // 24, answers))
    requests = pa.array([f"{day:04d}-{number:032x}" for number in range(answers)])
    units = pa.array([f"user-{user}" for user in (users * rng.random(answers) ** 2).astype(int)])
    items = pa.array([f"item-{item}" for item in rng.integers(0, ITEMS, answers * SLATE)])
    latencies = rng.lognormal(3.0, 0.5, answers).tolist()
    made = {
        "request_id": requests,
        "unit": units,
        "version": pa.array([f"search-ranking@{3 + bit}" for bit in rng.integers(0, 2, answers)]),
        "predicted_at": _moments(moments),
        "item_ids": pa.ListArray.from_arrays(np.arange(0, answers * SLATE + 1, SLATE, dtype=np.int32), items),
        "extension": pa.array(
            [
                f'{{"schema":"search.impression.v1","rung":"ranked","latency_ms":{latency:.2f},"skipped":[]}}'
                for latency in latencies
            ]
        ),
    }
    same = pa.array(np.zeros(answers, dtype=np.int64))
    schema = SCHEMAS[RecordKind.IMPRESSION]
    columns = [made.get(name, one[name].combine_chunks().take(same)) for name in schema.names]
    row = rng.integers(0, answers, actions)
    later = _moments(moments[row] + rng.integers(0, DAY_US // 24, actions))
    outcome = {
        "schema": pa.array(["streamrec.outcome.v2"] * actions),
        "event_id": pa.array([f"{day:04d}-{number:032x}" for number in range(actions)]),
        "unit": units.take(pa.array(row)),
        "item_id": items.take(pa.array(row * SLATE + rng.integers(0, SLATE, actions))),
        "kind": pa.array([("click", "play")[bit] for bit in rng.integers(0, 2, actions)]),
        "occurred_at": later,
        "received_at": later,
        "request_id": requests.take(pa.array(row)),
        "value": pa.array(rng.exponential(300.0, actions)),
        "currency": pa.nulls(actions, pa.string()),
    }
    outcomes = pa.table(outcome, schema=SCHEMAS[RecordKind.OUTCOME])
    return pa.Table.from_arrays(columns, schema=schema), outcomes


def _moments(microseconds: np.ndarray) -> pa.Array:
    start = int(FIRST.timestamp()) * 1_000_000
    return pa.array(start + microseconds).cast(SCHEMAS[RecordKind.IMPRESSION].field("predicted_at").type)


if __name__ == "__main__":
    main()
