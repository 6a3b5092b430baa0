from __future__ import annotations

import re
from datetime import UTC, datetime

from typer.testing import CliRunner

from services.cli.main import app
from streamrec.contracts.events import InteractionKind, Outcome
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.reader import FileEventReader
from tests.made_events import a_label, a_prediction, an_exposure, an_impression

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_compaction_turns_the_log_into_parquet_and_the_count_stays(tmp_path):
    log = FileEventLog(tmp_path / "events")
    outcomes = [Outcome(f"e{row % 3}", "u", "i", InteractionKind.CLICK, NOW, NOW) for row in range(4)]
    others = (a_prediction, a_prediction, an_impression, an_exposure, a_label)
    log.append([*outcomes, *(make(number) for number, make in enumerate(others))])
    log.close()
    runner = CliRunner()
    counted = runner.invoke(app, ["events", "count", "--workspace", str(tmp_path)])
    assert counted.exit_code == 0
    found = dict(re.findall(r"(\w+) +(\d+)\b", counted.stdout))
    assert found == {
        "predictions": "2",
        "impressions": "1",
        "exposures": "1",
        "outcomes": "3",
        "labels": "1",
        "quarantined": "0",
    }
    compacted = runner.invoke(app, ["events", "compact", "--workspace", str(tmp_path)])
    assert compacted.exit_code == 0
    assert list((tmp_path / "events" / "parquet").rglob("*.parquet"))
    assert len(FileEventReader(tmp_path / "events").snapshot().outcomes) == 3
