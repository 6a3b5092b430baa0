"""`streamrec recommendations serve` compacts the event log by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from typer.testing import CliRunner

from services.cli.main import app
from services.recommendations.serving import local_cluster
from streamrec.events.file_event_log import FileEventLog
from tests.made_events import an_impression

PATIENCE_S = 60.0


def test_the_log_is_compacted_while_it_serves_and_what_has_expired_goes(tmp_path, monkeypatch):
    now = datetime.now(UTC)
    log = FileEventLog(tmp_path / "events")
    log.append([an_impression(1, predicted_at=now), an_impression(2, predicted_at=now - timedelta(days=500))])
    log.close()
    segments = tmp_path / "events" / "segments"

    def served_until_compacted(*_arguments):
        deadline_s = time.monotonic() + PATIENCE_S
        while any(segments.iterdir()):
            assert time.monotonic() < deadline_s, "the log was not compacted"
            time.sleep(0.05)

    monkeypatch.setattr(local_cluster, "serve_forever", served_until_compacted)
    result = CliRunner().invoke(
        app,
        ["recommendations", "serve", "--workspace", str(tmp_path), "--compaction-interval-s", "1"],
    )

    assert result.exit_code == 0, result.output
    assert [kept.request_id for kept in FileEventLog(tmp_path / "events").snapshot().impressions] == ["r1"]
