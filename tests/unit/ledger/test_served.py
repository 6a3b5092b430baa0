from __future__ import annotations

from datetime import timedelta

import pytest

from streamrec.contracts.errors import ArtifactError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.ledger.served import TrafficEvidence, served, traffic_decisions
from tests.unit.ledger.made_ledger import NOON, MinuteClock, decided

RANKING, RETRIEVAL = "recommendations.ranking", "recommendations.retrieval"
MINUTE = timedelta(minutes=1)


def changed(ledger, revision, before, after, kind="promoted"):
    refs = [{slot: ModelRef.parse(ref) for slot, ref in side.items()} for side in (before, after)]
    evidence = TrafficEvidence(revision, *refs, kind)
    return ledger.append_all(
        traffic_decisions(evidence, actor="omar", role=ActorRole.PLATFORM, reason="it is better")
    )


@pytest.fixture
def ledger():
    """Minute 0 gates, 1 approval, 2 promoted ranker@1 and towers@1, 3 gates of @2, 4 promoted, 5 back."""
    made = MemoryLedger(clock=MinuteClock())
    made.append(decided("ranker@1", evidence={"verdict": "passed"}))
    made.append(decided("ranker@1", kind=EntryKind.REVIEW_APPROVED, actor="lena", role=ActorRole.REVIEWER))
    changed(made, 10, {}, {RANKING: "ranker@1", RETRIEVAL: "towers@1"})
    made.append(decided("ranker@2"))
    changed(made, 11, {RANKING: "ranker@1"}, {RANKING: "ranker@2"})
    changed(made, 12, {RANKING: "ranker@2"}, {RANKING: "ranker@1"}, "rolled_back")
    made.append(decided("ranker@1", kind=EntryKind.VERDICT_REVOKED))
    return made


def test_before_the_first_promotion_nothing_served(ledger):
    assert served(ledger, RANKING, NOON + MINUTE) is None
    assert served(ledger, "ads.clicks", NOON + 9 * MINUTE) is None


@pytest.mark.parametrize(
    ("minute", "version", "revision", "until"),
    [(2, "ranker@1", 10, 11), (3, "ranker@1", 10, 11), (4, "ranker@2", 11, 12), (9, "ranker@1", 12, None)],
)
def test_the_newest_change_before_a_time_says_what_served(ledger, minute, version, revision, until):
    found = served(ledger, RANKING, NOON + minute * MINUTE)
    assert (str(found.version), found.change.revision) == (version, revision)
    assert found.since.actor == "omar"
    ended = None if found.until is None else ledger.evidence(found.until.evidence_digest)["revision"]
    assert ended == until


def test_slots_that_changed_together_have_an_entry_each_and_share_the_evidence(ledger):
    found = served(ledger, RETRIEVAL, NOON + 9 * MINUTE)
    assert (str(found.version), found.change.revision, found.until) == ("towers@1", 10, None)
    assert found.since.evidence_digest == served(ledger, RANKING, NOON + 2 * MINUTE).since.evidence_digest


def test_what_was_decided_about_the_version_by_then_is_told_in_order(ledger):
    def kinds(minute):
        return [entry.kind for entry in served(ledger, RANKING, NOON + minute * MINUTE).decisions]

    assert kinds(2) == [EntryKind.GATES_JUDGED, EntryKind.REVIEW_APPROVED]
    assert kinds(4) == [EntryKind.GATES_JUDGED]
    assert kinds(9) == [EntryKind.GATES_JUDGED, EntryKind.REVIEW_APPROVED, EntryKind.VERDICT_REVOKED]


def test_an_emptied_slot_has_no_version(ledger):
    changed(ledger, 13, {RANKING: "ranker@1"}, {})
    found = served(ledger, RANKING, NOON + 20 * MINUTE)
    assert (found.version, found.decisions, found.change.revision) == (None, (), 13)


def test_where_a_clock_was_set_back_the_later_entry_counts():
    made = MemoryLedger(clock=iter([NOON + 5 * MINUTE, NOON]).__next__)
    changed(made, 1, {}, {RANKING: "ranker@1"})
    changed(made, 2, {RANKING: "ranker@1"}, {RANKING: "ranker@2"})
    assert str(served(made, RANKING, NOON + 9 * MINUTE).version) == "ranker@2"


@pytest.mark.parametrize("evidence", [None, {"revision": 1}, {"before": {}, "after": {}, "kind": "x"}])
def test_a_change_without_its_evidence_is_an_error(evidence):
    made = MemoryLedger(clock=MinuteClock())
    made.append(decided(RANKING, kind=EntryKind.TRAFFIC_CHANGED, evidence=evidence))
    with pytest.raises(ArtifactError, match="entry 1"):
        served(made, RANKING, NOON + MINUTE)
