"""Failure case 19: every event sent ten times, weeks apart and out of order, into a real log."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta

from tests.unit.metrics.workplace import CATALOGUE, Workplace, some_events


def test_every_event_ten_times_and_out_of_order_gives_the_same_bytes(tmp_path):
    rng = random.Random(5)
    once = some_events(21)
    place, again = Workplace(tmp_path / "once"), Workplace(tmp_path / "again")
    place.log.append(once, durable=False)
    repeated = [record for record in once for _ in range(10)]
    repeated = [
        replace(record, received_at=record.received_at + timedelta(hours=rng.uniform(0, 300)))
        if hasattr(record, "event_id") and number % 10
        else record
        for number, record in enumerate(repeated)
    ]
    rng.shuffle(repeated)
    half = len(repeated) // 2
    again.log.append(repeated[:half], durable=False)
    again.log.rotate()
    again.log.compact()
    again.log.append(repeated[half:], durable=False)
    for name in ("click_rate", "watch_seconds_per_user", "watch_seconds_per_play", "latency_p99_ms"):
        metric = CATALOGUE.metric(name)
        texts = [json.dumps(log.compute(metric, by=("slot", "segment"))[0]) for log in (place, again)]
        assert texts[0] == texts[1]
    kept = [{path.parent.name + path.name.split(".")[-2] for path in log.files()} for log in (place, again)]
    assert kept[0] == kept[1]
    for workplace in (place, again):
        workplace.log.close()
