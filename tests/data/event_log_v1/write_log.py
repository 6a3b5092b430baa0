"""Writes a small event log with the code of version 1; see README.md for how to run it."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamrec.contracts.events import EventKind, Impression, Outcome, Rung
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.records import QuarantinedEvent, QuarantineReason

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KNOWN = {"retrieval": 1, "ranking": 3, "reranking": 4}
NEW = {"cold_start": 2, "reranking": 4}


def impression(
    number: int, versions: dict[str, int], rung: Rung = Rung.RANKED, *, cold_start: bool = False
) -> Impression:
    return Impression(
        request_id=f"r{number}",
        user_id=f"u{number}",
        served_at=NOON + timedelta(hours=number),
        item_ids=("a", "b", "c"),
        scores=(3.0, 2.5, -1.0),
        propensities=(1.0, 1.0, 1.0),
        model_versions=versions,
        rung=rung,
        cold_start=cold_start,
        latency_ms=12.5 + number,
        variants={"colour": "blue"} if number % 2 else {},
    )


def outcome(number: int, kind: EventKind, value: float | None = None) -> Outcome:
    moment = NOON + timedelta(hours=number, minutes=2)
    return Outcome(
        event_id=f"e{number}",
        user_id=f"u{number}",
        item_id="b",
        kind=kind,
        occurred_at=moment,
        received_at=moment + timedelta(seconds=1),
        request_id=f"r{number}",
        value=value,
    )


def quarantined(number: int, reason: QuarantineReason) -> QuarantinedEvent:
    return QuarantinedEvent(f"q{number}", reason, NOON + timedelta(hours=number), '{"event_id": "q"}')


def main(root: Path) -> None:
    log = FileEventLog(root)
    log.append(
        [
            impression(1, KNOWN | {"language_prices": 1700000000}),
            impression(2, NEW, cold_start=True),
            outcome(1, EventKind.CLICK),
            outcome(2, EventKind.PLAY, 31.5),
            quarantined(1, QuarantineReason.UNKNOWN_ITEM),
            impression(13, KNOWN),
        ]
    )
    log.close()
    log.compact()
    log = FileEventLog(root)
    log.append(
        [
            impression(3, {"retrieval": 1}, Rung.RETRIEVAL_ORDER),
            impression(4, {}, Rung.POPULAR_IN_LANGUAGE),
            outcome(3, EventKind.SKIP),
            outcome(1, EventKind.CLICK),
            quarantined(2, QuarantineReason.FUTURE_DATED),
        ]
    )
    log.close()
    log = FileEventLog(root)
    log.append(
        [
            impression(5, KNOWN | {"cold_start": 2, "language_prices": 1700000060}),
            outcome(5, EventKind.LIKE),
            outcome(4, EventKind.DISLIKE, -1.0),
        ]
    )
    # The writer dies in the middle of a line.
    (segment,) = (root / "segments").glob("*.open")
    with segment.open("ab") as file:
        file.write(b'0badc0de {"record":"outcome","event_id":"torn')
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
