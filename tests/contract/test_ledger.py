"""Every ledger keeps the same promises: an unbroken chain, evidence as it was given, all or nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamrec.contracts.errors import ConflictError, InvalidInputError, NotFoundError
from streamrec.contracts.ledger_entry import GENESIS, ActorRole, EntryKind, verify_chain
from streamrec.ledger.ledger import MAXIMUM_DECISIONS, MAXIMUM_EVIDENCE_BYTES, Decision, UnlessNewer
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.ledger.sql_ledger import SqlLedger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.now = NOON - timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger(request, tmp_path):
    if request.param == "memory":
        yield MemoryLedger(clock=Clock())
        return
    if request.param == "sqlite":
        opened = SqlLedger.in_file(tmp_path / "new folder" / "ledger.sqlite", clock=Clock())
    else:
        opened = SqlLedger(request.getfixturevalue("postgres_url"), clock=Clock())
    yield opened
    opened.close()


def decided(subject: str = "toxicity@1", **fields) -> Decision:
    defaults = {"actor": "mira", "role": ActorRole.SPOKE, "kind": EntryKind.GATES_JUDGED}
    return Decision(**{**defaults, "subject": subject, **fields})


def test_an_empty_ledger_has_no_entries_and_no_last_one(ledger):
    assert ledger.last() is None
    assert list(ledger.entries()) == list(ledger.stored()) == []


def test_entries_follow_from_each_other_and_are_read_back_as_they_were_returned(ledger):
    first = ledger.append(decided(reason="ranks better: Ωmega"))
    second = ledger.append(decided(evidence={"verdict": "passed", "share": 0.25}))
    assert (first.seq, first.previous, first.at) == (1, GENESIS, NOON)
    assert (second.seq, second.previous) == (2, first.hash)
    assert list(ledger.entries()) == [first, second]
    assert ledger.last() == second
    assert verify_chain(ledger.entries()) is None


def test_a_time_keeps_its_microseconds(ledger):
    ledger._clock = lambda: NOON.replace(microsecond=1)
    assert ledger.append(decided()) == ledger.last()
    assert ledger.last().at == NOON.replace(microsecond=1)


def test_evidence_is_returned_by_its_digest(ledger):
    evidence = {"groups": {"lang=hi": {"tpr": 0.5, "n": 12}}, "note": "é", "none": None, "all": [True, 1]}
    entry = ledger.append(decided(evidence=evidence))
    assert ledger.evidence(entry.evidence_digest) == evidence


def test_the_same_evidence_may_be_given_again(ledger):
    first, second = (ledger.append(decided(evidence={"a": 1})) for _ in range(2))
    assert first.evidence_digest == second.evidence_digest
    assert ledger.evidence(first.evidence_digest) == {"a": 1}


def test_evidence_that_nobody_gave_is_not_found(ledger):
    ledger.append(decided(evidence={"a": 1}))
    with pytest.raises(NotFoundError, match="0000"):
        ledger.evidence("0" * 64)


def test_several_decisions_are_appended_in_their_order(ledger):
    ledger.append(decided("a"))
    added = ledger.append_all([decided("b"), decided("c", evidence={"x": 1})])
    assert [entry.seq for entry in added] == [2, 3]
    assert [entry.subject for entry in ledger.entries()] == ["a", "b", "c"]
    assert verify_chain(ledger.entries()) is None
    assert ledger.append_all([]) == ()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"actor": ""}, "actor"),
        ({"subject": "two\nlines"}, "subject"),
        ({"reason": "x" * 2_001}, "reason"),
        ({"evidence": {"share": float("nan")}}, "evidence.share"),
        ({"evidence": {"text": "x" * MAXIMUM_EVIDENCE_BYTES}}, "evidence"),
        ({"evidence": [1]}, "evidence.document"),
    ],
)
def test_of_decisions_one_of_which_is_wrong_none_is_appended(ledger, wrong, field):
    with pytest.raises(InvalidInputError) as refused:
        ledger.append_all([decided(evidence={"good": True}), decided(**wrong)])
    assert refused.value.field == field
    assert ledger.last() is None
    with pytest.raises(NotFoundError):
        ledger.evidence(MemoryLedger().append(decided(evidence={"good": True})).evidence_digest)


def test_too_many_decisions_at_once_are_refused(ledger):
    with pytest.raises(InvalidInputError, match="1,001"):
        ledger.append_all([decided()] * (MAXIMUM_DECISIONS + 1))


def test_evidence_of_the_largest_size_is_kept(ledger):
    evidence = {"text": "x" * (MAXIMUM_EVIDENCE_BYTES - len('{"text":""}'))}
    assert ledger.evidence(ledger.append(decided(evidence=evidence)).evidence_digest) == evidence


def subjects(entries) -> list[str]:
    return [entry.subject for entry in entries]


def test_entries_are_found_by_kind_subject_number_and_time(ledger):
    judged, approved, changed = (
        EntryKind.GATES_JUDGED,
        EntryKind.REVIEW_APPROVED,
        EntryKind.TRAFFIC_CHANGED,
    )
    for kind, subject in (
        (judged, "a"),
        (approved, "b"),
        (changed, "c"),
        (judged, "b"),
        (changed, "c"),
    ):
        ledger.append(decided(subject, kind=kind))
    assert subjects(ledger.entries(kinds={approved, judged})) == ["a", "b", "b"]
    assert [entry.kind for entry in ledger.entries(subject="b")] == [approved, judged]
    assert [entry.seq for entry in ledger.entries(subject="b", kinds=[judged])] == [4]
    assert [entry.seq for entry in ledger.entries(after_seq=3)] == [4, 5]
    assert [entry.seq for entry in ledger.entries(after_seq=5)] == []
    assert [entry.seq for entry in ledger.entries(until=NOON + timedelta(minutes=2))] == [1, 2, 3]
    east = timezone(timedelta(hours=5, minutes=30))
    assert [entry.seq for entry in ledger.entries(until=NOON.astimezone(east))] == [1]
    assert [entry.seq for entry in ledger.entries(newest_first=True, limit=2)] == [5, 4]
    assert [entry.seq for entry in ledger.entries(kinds=[changed], newest_first=True, limit=1)] == [5]
    assert [entry.seq for entry in ledger.entries(limit=2)] == [1, 2]
    assert list(ledger.entries(subject="nobody")) == list(ledger.entries(limit=0)) == []


def test_a_time_without_a_zone_is_refused(ledger):
    with pytest.raises(InvalidInputError, match="until"):
        list(ledger.entries(until=datetime(2026, 1, 1)))  # noqa: DTZ001 - the zone is what is missing


def test_what_is_stored_is_read_with_its_evidence(ledger):
    ledger.append_all([decided(), decided(evidence={"b": 1, "a": 2}), decided()])
    stored = list(ledger.stored())
    assert [(one.seq, one.evidence, one.problem) for one in stored] == [
        (1, None, ""),
        (2, b'{"a":2,"b":1}', ""),
        (3, None, ""),
    ]
    assert [one.entry for one in stored] == list(ledger.entries())
    assert [one.seq for one in ledger.stored(after_seq=2)] == [3]


def test_more_entries_than_one_page_are_read_in_order(ledger):
    for _ in range(3):
        ledger.append_all([decided() for _ in range(MAXIMUM_DECISIONS)])
    assert [entry.seq for entry in ledger.entries()] == list(range(1, 3_001))
    assert [one.seq for one in ledger.stored(after_seq=1_500)] == list(range(1_501, 3_001))
    assert [entry.seq for entry in ledger.entries(newest_first=True, limit=2_500)][-1] == 501


def test_while_entries_are_read_others_may_be_appended(ledger):
    ledger.append_all([decided() for _ in range(5)])
    reading = ledger.entries()
    assert next(reading).seq == 1
    ledger.append(decided())
    assert [entry.seq for entry in reading][:4] == [2, 3, 4, 5]


def test_threads_that_append_at_once_make_one_chain(ledger):
    ledger._clock = lambda: NOON
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda number: ledger.append(decided(f"s{number}")), range(40)))
    assert sorted(entry.seq for entry in added) == list(range(1, 41))
    assert verify_chain(ledger.entries()) is None


ROLLOUTS = frozenset({EntryKind.ROLLOUT_STARTED, EntryKind.ROLLOUT_ADVANCED})


def test_under_a_condition_entries_are_appended_unless_a_newer_one_has_come(ledger):
    started = ledger.append(decided("r-1", kind=EntryKind.ROLLOUT_STARTED))
    ledger.append(decided("b"))  # of another kind
    known = UnlessNewer(ROLLOUTS, started.seq)
    advanced = decided("r-1", kind=EntryKind.ROLLOUT_ADVANCED, evidence={"state": 2})
    assert [entry.seq for entry in ledger.append_all([advanced, advanced], unless_newer=known)] == [3, 4]
    with pytest.raises(ConflictError, match=r"entry 3 .*rollout_advanced.* since entry 1"):
        ledger.append_all([decided("lost", evidence={"state": 3})], unless_newer=known)
    assert subjects(ledger.entries()) == ["r-1", "b", "r-1", "r-1"]
    with pytest.raises(NotFoundError):
        ledger.evidence(MemoryLedger().append(decided(evidence={"state": 3})).evidence_digest)
    assert ledger.append_all([], unless_newer=known) == ()
    assert ledger.append_all([decided("e")], unless_newer=UnlessNewer(ROLLOUTS, 4))[0].seq == 5
    assert verify_chain(ledger.entries()) is None


def test_a_condition_on_an_empty_ledger_holds(ledger):
    assert ledger.append_all([decided()], unless_newer=UnlessNewer(ROLLOUTS, 0))[0].seq == 1


@pytest.mark.parametrize(("kinds", "seq"), [(frozenset(), 0), (ROLLOUTS, -1)])
def test_a_condition_that_says_nothing_is_refused(kinds, seq):
    with pytest.raises(InvalidInputError, match="unless_newer"):
        UnlessNewer(kinds, seq)


def test_of_threads_that_append_under_the_same_condition_one_wins_each_time(ledger):
    ledger._clock = lambda: NOON

    def advance(number: int) -> bool:
        one = decided(f"s{number}", kind=EntryKind.ROLLOUT_ADVANCED)
        try:
            ledger.append_all([one], unless_newer=UnlessNewer(ROLLOUTS, seq))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            last = ledger.last()
            seq = 0 if last is None else last.seq
            assert sum(threads.map(advance, range(8))) == 1
    assert [entry.seq for entry in ledger.entries()] == [1, 2, 3, 4, 5]
