from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from streamrec.contracts.events import InteractionKind
from streamrec.contracts.progress import SilentProgress
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.reader import FileEventReader
from streamrec.events.records import Record
from streamrec.metrics.catalogue import load_catalogue
from streamrec.metrics.computation import MetricSources, compute, result_of
from streamrec.metrics.statistics_files import StatisticsFolder
from streamrec.metrics.unit_segments import TableSegments
from tests.made_events import a_prediction, an_impression, an_outcome
from tests.unit.metrics.plain import SEGMENTS

SPOKE_METRICS = Path(__file__).resolve().parents[3] / "services" / "recommendations" / "metrics.yaml"
CATALOGUE = load_catalogue([SPOKE_METRICS])
CLICKS = CATALOGUE.metric("click_rate")
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 3
END = FIRST + timedelta(days=DAYS)
LATER = FIRST + timedelta(days=90)


def some_events(seed: int, count: int = 90) -> list[Record]:
    """Three days of slates and of what users did with them, with all that makes counting hard.

    Clients that call their requests by small numbers, one request in two slots, outcomes after midnight,
    late ones, early ones by a wrong clock, ones that name no request, another's, or an item not shown.
    """
    rng = random.Random(seed)
    records: list[Record] = []
    for number in range(count):
        at = FIRST + timedelta(days=rng.uniform(0, DAYS))
        unit = f"u{rng.randrange(25)}"
        shown = an_impression(
            number,
            unit=unit,
            predicted_at=at,
            client_request_id=rng.choice([None, None, str(rng.randrange(3))]),
            slot=rng.choice(["search.ranking", "home.ranking"]),
            version=rng.choice(["search-ranking@3", "search-ranking@4", None]),
            item_ids=tuple(rng.sample("abcdef", rng.randrange(0, 4))),
            extension=rng.choice([None, _extension(rng)]),
        )
        records.append(shown)
        if rng.random() < 0.2:
            other_slot = "ads.ranking" if shown.slot < "d" else "zoo.ranking"
            moment = at + timedelta(seconds=rng.uniform(0, 40))
            records.append(an_impression(number, unit=unit, predicted_at=moment, slot=other_slot))
        for action in range(rng.choice([0, 0, 1, 2, 3])):
            happened = at + timedelta(hours=rng.choice([-0.05, 0.1, 3.0, 23.9, 24.1]) * rng.uniform(0.9, 1.0))
            request = rng.choice(
                [f"r{number}"] * 5 + [None, "nobody", str(rng.randrange(3)), f"r{number + 1}"]
            )
            records.append(
                an_outcome(
                    event_id=f"e{number}-{action}",
                    unit=rng.choice([unit] * 9 + ["u1"]),
                    kind=rng.choice(list(InteractionKind)),
                    item_id=rng.choice([*3 * shown.item_ids, "z", None, None]),
                    request_id=request,
                    occurred_at=happened,
                    received_at=max(happened, at) + timedelta(hours=rng.choice([0.0, 0.0, 1.0, 20.0])),
                    value=rng.choice([None, 0.0, rng.uniform(0, 30_000), rng.uniform(0, 100)]),
                )
            )
        if rng.random() < 0.3:
            records.append(a_prediction(number, predicted_at=at, extension=_extension(rng)))
    rng.shuffle(records)
    return records


def _extension(rng: random.Random) -> dict:
    return {
        "schema": "search.impression.v1",
        "latency_ms": rng.choice([rng.lognormvariate(3, 1), 7, "fast", None, True]),
        "rung": rng.choice(["ranked", "ranked", "static"]),
        "skipped": rng.choice([[], ["ranking"]]),
        "effort": "full",
    }


def memory_log(records: Sequence[Record]) -> MemoryEventLog:
    log = MemoryEventLog()
    log.append(records)
    return log


def segments() -> TableSegments:
    table = pa.table(
        {"user_id": list(SEGMENTS), "country": [known["country"] for known in SEGMENTS.values()]}
    )
    return TableSegments(lambda: table, "user_id")


def a_source(events, kept=None, is_erased=lambda _: False) -> MetricSources:
    """What metrics are computed from, of a log."""
    return MetricSources(events=events, segments=segments(), kept=kept, is_erased=is_erased)


class Workplace:
    """A log on disk, a folder of kept statistics, and how often the log was read."""

    def __init__(self, root):
        self.root = root
        self.log = FileEventLog(root / "events")
        self._reader = FileEventReader(root / "events", remembers_segments=True)
        self.kept = root / "metric_statistics"
        self.reads = 0

    def table(self, *arguments):
        self.reads += 1
        return self._reader.table(*arguments)

    def extent(self):
        return self._reader.extent()

    def compute(self, metric=CLICKS, *, now=LATER, is_erased=lambda _: False, **changes):
        self.reads = 0
        sources = a_source(self, StatisticsFolder(self.kept), is_erased)
        options = {"start": FIRST, "end": END, "now": now, "progress": SilentProgress()} | changes
        figures = compute(metric, CATALOGUE, sources, **options)
        return result_of(figures).to_json(), figures.computed_days

    def files(self):
        return sorted(self.kept.glob("*/*.parquet"))
