from __future__ import annotations

import pytest

from streamrec.contracts.errors import ArtifactError, ConflictError, InvalidInputError, NotFoundError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.ledger.ledger import Decision
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.ledger.served import TrafficEvidence, traffic_decisions
from streamrec.rollout import step
from streamrec.rollout.book import RolloutBook
from streamrec.rollout.requests import Ask, asked
from tests.made_rollouts import BEGAN, BY, a_move, a_rollout, after, analysis_of, evidence_of, ref


@pytest.fixture
def ledger():
    return MemoryLedger(clock=lambda: BEGAN)


@pytest.fixture
def book(ledger):
    return RolloutBook(ledger)


def start(book, *moves, name="r-1", **kwargs):
    state = a_rollout(*moves, name=name, **kwargs)
    return book.append(None, step.Decision(state, EntryKind.ROLLOUT_STARTED, ()), by=BY, request="start")


def end(book, state, phase):
    why = (Reason("made_up", "test", "a test ends it"),)
    return book.append(state, step.ended(state, phase, why, after(1)))


def direct(ledger, slot, version, actor="ana"):
    told = TrafficEvidence(1, {}, {slot: ref(version)}, "promoted")
    ledger.append_all(traffic_decisions(told, actor=actor, role=ActorRole.PLATFORM))


def test_a_rollout_stands_where_its_newest_entry_says(book, ledger):
    state = start(book)
    assert book.active() == [state]
    assert book.get("r-1") == state
    going_on = step.entered(state, RolloutPhase.CANARY, EntryKind.ROLLOUT_ADVANCED, (), after(1))
    book.append(state, going_on, evidence=evidence_of(state, after(1)))
    assert RolloutBook(ledger).get("r-1") == going_on.state  # another process reads the same
    over = end(book, going_on.state, RolloutPhase.ABORTED)
    assert book.active() == []
    assert book.list() == [over]
    assert book.holding("shop.ranking") is None


def test_only_what_is_new_is_read(book, ledger, monkeypatch):
    start(book)
    asked_for = []
    entries = ledger.entries
    monkeypatch.setattr(
        ledger, "entries", lambda **kwargs: asked_for.append(kwargs["after_seq"]) or entries(**kwargs)
    )
    for _ in range(3):
        book.active()
    assert asked_for == [1, 1, 1]


def test_of_two_who_saw_the_same_one_wins(ledger):
    books = [RolloutBook(ledger) for _ in range(2)]
    state = start(books[0])
    books[1].active()
    paused = asked(state, Ask.PAUSE, BY, after(1))
    books[0].append(state, paused, by=BY)
    with pytest.raises(ConflictError, match="by its transition 2"):
        books[1].append(state, asked(state, Ask.ABORT, BY, after(1)), by=BY)
    assert books[1].get("r-1").paused


def test_another_rollouts_transition_is_no_conflict(ledger, monkeypatch):
    one, other = RolloutBook(ledger), RolloutBook(ledger)
    state = start(one)
    append_all = ledger.append_all

    def late(decisions, **kwargs):
        monkeypatch.setattr(ledger, "append_all", append_all)
        start(other, a_move("shop.search", "search@2", "search@1"), name="r-2")
        return append_all(decisions, **kwargs)

    monkeypatch.setattr(ledger, "append_all", late)
    one.append(state, asked(state, Ask.PAUSE, BY, after(1)), by=BY)
    assert [found.rollout for found in one.active()] == ["r-2", "r-1"]


def test_a_slot_is_held_by_one_rollout_and_a_name_is_used_once(book):
    state = start(book)
    assert book.holding("shop.ranking") == state
    with pytest.raises(ConflictError, match=r"shop\.ranking is held by the rollout r-1, which is preparing"):
        start(book, name="r-2")
    end(book, state, RolloutPhase.ABORTED)
    with pytest.raises(ConflictError, match="choose another"):
        start(book)
    start(book, name="r-2")


def test_a_completed_one_is_not_rolled_back_over_one_that_runs(book):
    first = end(book, start(book), RolloutPhase.COMPLETED)
    start(book, a_move(challenger="ranker@3", champion="ranker@2"), name="r-2")
    with pytest.raises(ConflictError, match="held by the rollout r-2"):
        book.append(first, asked(first, Ask.ROLLBACK, BY, after(2)), by=BY)


def test_what_is_not_there_is_not_found(book):
    with pytest.raises(NotFoundError, match="nobody"):
        book.get("nobody")
    with pytest.raises(NotFoundError):
        book.list(after="nobody")
    state = a_rollout()
    paused = asked(state, Ask.PAUSE, BY, after(1))
    with pytest.raises(NotFoundError):
        book.append(state, paused)
    for limit in (0, 201):
        with pytest.raises(InvalidInputError, match="limit"):
            book.list(limit=limit)


def test_rollouts_are_listed_in_pages_the_newest_first(book):
    for number in range(5):
        end(book, start(book, name=f"r-{number}"), RolloutPhase.ABORTED)
    first = book.list(limit=2)
    assert [state.rollout for state in first] == ["r-4", "r-3"]
    assert [state.rollout for state in book.list(after="r-3", limit=9)] == ["r-2", "r-1", "r-0"]
    assert book.list(after="r-0") == []


def test_the_history_keeps_evidence_analysis_and_who(book):
    state = start(book)
    evidence, analysis = evidence_of(state, after(1)), analysis_of(after(1))
    book.append(state, step.decide(state, evidence, analysis, after(1)), evidence=evidence)
    started, advanced = book.history("r-1")
    assert (started.request, started.evidence, started.analysis) == ("start", None, None)
    assert (started.entry.actor, started.entry.reason) == ("ana", "a better model")
    assert (advanced.evidence, advanced.analysis) == (evidence, analysis.to_json())
    assert (advanced.entry.actor, advanced.entry.role) == ("rollout-controller", ActorRole.PLATFORM)
    assert book.history("r-1", after_seq=started.entry.seq) == [advanced]


def test_evidence_that_is_too_large_is_left_out_and_the_transition_is_not(book, monkeypatch):
    state = start(book)
    evidence = evidence_of(state, after(1), missing=("x" * 500,) * 10)
    monkeypatch.setattr("streamrec.ledger.ledger.MAXIMUM_EVIDENCE_BYTES", 4_000)
    book.append(state, step.ended(state, RolloutPhase.ABORTED, (), after(1)), evidence=evidence)
    assert book.history("r-1")[-1].evidence is None
    assert book.get("r-1").phase is RolloutPhase.ABORTED


def names(placed):
    return [one.state.rollout for one in placed]


def test_the_last_of_each_slot_decides(book):
    end(book, start(book, name="r-1"), RolloutPhase.COMPLETED)
    second = start(book, a_move(challenger="ranker@3", champion="ranker@2"), name="r-2")
    assert names(book.deciding()) == ["r-1", "r-2"]  # what r-1 would go back to stays
    end(book, second, RolloutPhase.COMPLETED)
    assert names(book.deciding()) == ["r-2"]
    third = start(book, a_move("shop.search", "search@2", None), name="r-3")
    end(book, third, RolloutPhase.ABORTED)
    assert names(book.deciding()) == ["r-2", "r-3"]


def test_past_those_that_failed_the_one_that_succeeded_is_found(book):
    end(book, start(book, name="r-0"), RolloutPhase.COMPLETED)
    for number in (1, 2, 3):
        failed = start(book, a_move(challenger="ranker@3", champion="ranker@2"), name=f"r-{number}")
        end(book, failed, RolloutPhase.ABORTED)
    assert names(book.deciding()) == ["r-0", "r-3"]


def test_a_promotion_without_a_rollout_counts_from_then_on(book, ledger):
    end(book, start(book), RolloutPhase.COMPLETED)
    direct(ledger, "shop.ranking", "ranker@2", actor="rollout-controller")
    assert names(book.deciding()) == ["r-1"]
    assert book.last_completed("shop.ranking", "ranker@2").rollout == "r-1"
    direct(ledger, "shop.ranking", "ranker@7")
    assert book.deciding() == []
    assert book.last_completed("shop.ranking", "ranker@2") is None


def test_the_end_of_a_holdback_moves_nothing(book):
    first = end(book, start(book), RolloutPhase.COMPLETED)
    second = start(book, a_move(challenger="ranker@3", champion="ranker@2"), name="r-2")
    second = end(book, second, RolloutPhase.COMPLETED)
    assert not book.holdback_has_ended("r-1")
    book.append(first, step.Decision(first, EntryKind.HOLDBACK_ENDED, ()))
    assert book.holdback_has_ended("r-1")
    assert book.get("r-1") == first
    assert names(book.deciding()) == ["r-2"]


@pytest.mark.parametrize(
    "evidence", [None, {"state": None}, {"nothing": 1}, {"state": a_rollout(name="r-7").to_json()}]
)
def test_an_entry_that_says_nothing_is_named(book, ledger, evidence):
    entry = Decision("eve", ActorRole.PLATFORM, EntryKind.ROLLOUT_ADVANCED, "r-1", evidence=evidence)
    ledger.append(entry)
    with pytest.raises(ArtifactError, match="entry 1 of the ledger"):
        book.active()
