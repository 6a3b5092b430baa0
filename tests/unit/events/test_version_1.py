"""A log that was written before events named their schema is read, joined and compacted like any other."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import UNKNOWN_PROPENSITY, Outcome, Propensity
from streamrec.contracts.slots import ServingRole
from streamrec.events.compacted_state import load_state
from streamrec.events.compaction import compact
from streamrec.events.file_event_log import FileEventLog
from streamrec.events.joining import join_outcomes
from streamrec.events.reader import FileEventReader
from streamrec.events.records import QuarantineReason, from_json
from streamrec.events.version_1 import migrated
from tests.made_events import an_impression, an_outcome

SOURCE = Path(__file__).parents[2] / "data" / "event_log_v1" / "log"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def root(tmp_path):
    return Path(shutil.copytree(SOURCE, tmp_path / "log"))


def test_every_event_is_there_from_parquet_and_from_both_kinds_of_segment(root):
    snapshot = FileEventReader(root).snapshot()
    assert [shown.request_id for shown in snapshot.impressions] == ["r1", "r2", "r3", "r4", "r5", "r13"]
    assert [done.event_id for done in snapshot.outcomes] == ["e1", "e2", "e3", "e4", "e5"]
    assert [kept.event_id for kept in snapshot.quarantined] == ["q1", "q2"]
    assert snapshot.quarantined[1].reason is QuarantineReason.FUTURE_DATED
    assert snapshot.predictions == snapshot.exposures == snapshot.labels == ()
    assert snapshot.outcomes[1] == Outcome(
        "e2",
        "u2",
        "b",
        "play",
        NOON + timedelta(hours=2, minutes=2),
        NOON + timedelta(hours=2, minutes=2, seconds=1),
        "r2",
        31.5,
    )


def test_an_impression_says_in_todays_form_all_that_it_said(root):
    first, new_user, retrieved, popular, between, later = FileEventReader(root).snapshot().impressions

    assert (first.unit, first.slot, first.role, first.version) == (
        "u1",
        "reranking",
        ServingRole.CHAMPION,
        "reranking@4",
    )
    assert first.predicted_at == NOON + timedelta(hours=1)
    assert (first.item_ids, first.scores) == (("a", "b", "c"), (3.0, 2.5, -1.0))
    assert first.versions == {"retrieval": "retrieval@1", "ranking": "ranking@3", "reranking": "reranking@4"}
    assert first.price_revision == 1_700_000_000
    assert first.variants == {"colour": "blue"}
    assert first.extension == {
        "schema": "streamrec.impression.v1",
        "rung": "ranked",
        "cold_start": False,
        "latency_ms": 13.5,
    }
    assert (new_user.versions["cold_start"], new_user.price_revision) == ("cold-start@2", None)
    assert (popular.version, popular.versions, popular.variants) == (None, {}, {})
    assert between.price_revision == 1_700_000_060
    for deterministic in (first, later):
        assert deterministic.propensity == Propensity.certain(3)
        assert "propensities" not in deterministic.extension
    for shown in (new_user, retrieved, popular, between):
        # Chance took part, or a stage was missing: the 1.0 that was written is kept, and not believed.
        assert shown.propensity == UNKNOWN_PROPENSITY
        assert shown.extension["propensities"] == [1.0, 1.0, 1.0]


def test_compaction_writes_todays_form_and_loses_nothing(root):
    before = FileEventReader(root).snapshot()
    old_files = load_state(root).files

    report = compact(root)

    assert (report.segments, report.recovered_segments, report.records) == (2, 1, 8)
    assert FileEventReader(root).snapshot() == before
    written = [file for file in load_state(root).files if file not in old_files]
    assert {file.kind for file in written} == {"impression", "outcome", "quarantined"}
    for file in written:
        assert set(pq.ParquetFile(root / file.path).read(["schema"])["schema"].to_pylist()) == {
            f"streamrec.{'quarantined_event' if file.kind == 'quarantined' else file.kind}.v2"
        }
    assert not list((root / "segments").iterdir())


def test_old_and_new_events_join_across(root):
    log = FileEventLog(root)
    log.append(
        [
            an_outcome(3690, event_id="e90", request_id="r1", unit="u1", item_id="c"),
            an_impression(91, request_id="r91", unit="u91"),
            an_outcome(91, request_id="r91", unit="u91"),
        ]
    )
    log.close()
    compact(root)

    snapshot = FileEventReader(root).snapshot()
    join = join_outcomes(snapshot.impressions, snapshot.outcomes, window=timedelta(hours=1))

    assert {(joined.outcome.event_id, joined.position) for joined in join.joined} == {
        ("e1", 1),
        ("e2", 1),
        ("e3", 1),
        ("e4", 1),
        ("e5", 1),
        ("e90", 2),
        ("e91", 0),
    }
    assert join.unjoined == {}


def test_the_same_id_of_another_user_is_another_event_there_too(root):
    log = FileEventLog(root)
    log.append(
        [
            an_outcome(1, event_id="e1", unit="somebody-else"),
            an_impression(1, request_id="r1", unit="somebody-else", slot="reranking"),
        ]
    )
    log.close()
    for _ in range(2):
        snapshot = FileEventReader(root).snapshot()
        assert [done.event_id for done in snapshot.outcomes].count("e1") == 2
        assert [shown.request_id for shown in snapshot.impressions].count("r1") == 2
        compact(root)


def test_the_same_event_in_both_forms_is_one(root):
    log = FileEventLog(root)
    log.append([*log.snapshot().outcomes, *log.snapshot().impressions])
    log.close()
    assert FileEventReader(root).snapshot() == FileEventReader(SOURCE).snapshot()


IMPRESSION = {
    "record": "impression",
    "request_id": "r",
    "user_id": "u",
    "served_at": "2026-03-01T13:00:00+00:00",
    "item_ids": ["a"],
    "scores": [1.0],
    "propensities": [1.0],
    "model_versions": {"ranking": 3},
    "rung": "ranked",
    "cold_start": False,
    "latency_ms": 1.0,
    "variants": {},
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record", "rumour"),
        ("record", 1),
        ("surprise", 1),
        ("model_versions", ["ranking"]),
        ("model_versions", {"ranking": "3"}),
        ("model_versions", {"ranking": True}),
        ("scores", []),
        ("predicted_at", "2026-03-01T13:00:00+00:00"),
    ],
)
def test_a_wrong_field_of_version_1_is_refused_by_name(field, value):
    with pytest.raises(InvalidInputError) as raised:
        from_json(json.dumps(IMPRESSION | {field: value}))
    assert raised.value.field == field


@pytest.mark.parametrize("field", sorted(IMPRESSION.keys() - {"record"}))
def test_a_missing_field_of_version_1_is_refused_by_name(field):
    with pytest.raises(InvalidInputError, match="missing") as raised:
        from_json(json.dumps({name: value for name, value in IMPRESSION.items() if name != field}))
    assert raised.value.field == field


def test_the_migration_leaves_its_argument_alone():
    document = json.loads(json.dumps(IMPRESSION))
    migrated(document)
    assert document == IMPRESSION
