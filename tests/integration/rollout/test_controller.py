"""The controller drives states and traffic; everything is in memory and a test turns the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamrec.contracts.errors import (
    ConflictError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.governance.deployment import revoke
from streamrec.ledger.served import served
from streamrec.ledger.verification import verify
from streamrec.rollout.leadership import MemoryLead, MemoryLeadership
from streamrec.rollout.requests import Ask
from tests.promoted import AUTHOR
from tests.rolled_out import ANA, NOON, OPS, PLAN, RANKING, Platform


@pytest.fixture
def platform(tmp_path):
    made = Platform(tmp_path)
    made.writer.promote([made.register("ranking")], actor="ana")
    made.replicas_of("ranking")
    made.now = NOON + timedelta(minutes=5)
    made.follow()
    return made


def phases(platform, name):
    return [one.state.phase.value for one in platform.controller.book.history(name)]


def test_a_healthy_version_goes_all_the_way_and_is_champion_at_every_replica(platform):
    second = platform.register("ranking")
    state = platform.controller.start([second], PLAN, ANA)
    weights = set()
    while not (state := platform.controller.book.get(state.rollout)).phase.is_over:
        report = platform.pass_time(30.0, 1_000)
        assert report.problems == ()
        weights.add(platform.traffic.slots[RANKING].weight_bp)
    assert state.phase is RolloutPhase.COMPLETED
    assert phases(platform, state.rollout) == ["preparing", *["canary"] * 3, "watch", "completed"]
    assert weights == {0, 1_000, 5_000, 10_000}
    assert platform.serving() == {RANKING: second}
    assert platform.replicas[0].champion == second
    assert platform.traffic.slots[RANKING].holder is None
    assert served(platform.ledger, RANKING, platform.now).version == second
    assert platform.registry.resolve("ranking").ref == second
    assert verify(platform.ledger.stored()).bad is None


def test_what_was_decided_is_kept_with_what_it_was_decided_by(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.WATCH)
    history = platform.controller.book.history(state.rollout)
    assert history[0].request == "start"
    assert (history[0].entry.actor, history[0].entry.kind) == ("ana", EntryKind.ROLLOUT_STARTED)
    last_step = history[-1]
    assert last_step.evidence.slots[RANKING].steps[-1].weight_bp == 10_000
    assert last_step.evidence.slots[RANKING].steps[-1].challenger.asked >= 100
    assert last_step.analysis["verdict"] == "passed"
    assert last_step.entry.actor == "rollout-controller"


def test_an_unhealthy_version_is_rolled_back_and_nobody_gets_it_any_more(platform):
    first, second = ModelRef("ranking", 1), platform.register("ranking")
    platform.wrong = {second}
    state = platform.controller.start([second], PLAN, ANA)
    over = platform.until(state.rollout, RolloutPhase.ROLLED_BACK)
    assert over.phase is RolloutPhase.ROLLED_BACK
    slot = platform.traffic.slots[RANKING]
    assert (slot.champion, slot.challenger, slot.weight_bp, slot.holder) == (first, None, 0, None)
    assert "answers are wrong" in platform.controller.book.history(state.rollout)[-1].entry.reason
    assert platform.registry.resolve("ranking").ref == first


def test_harm_in_the_watch_takes_the_champion_back(platform):
    first, second = ModelRef("ranking", 1), platform.register("ranking")
    state = platform.controller.start([second], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.WATCH)
    assert platform.pass_time().problems == ()
    assert platform.serving() == {RANKING: second}
    platform.wrong = {second}
    platform.until(state.rollout, RolloutPhase.ROLLED_BACK)
    assert platform.serving() == {RANKING: first}
    assert served(platform.ledger, RANKING, platform.now).version == first


def test_the_document_follows_within_one_look_and_a_look_without_news_changes_nothing(platform):
    platform.controller.start([platform.register("ranking")], PLAN, ANA)
    weights, revisions = [], []
    for _ in range(4):
        platform.pass_time(0.5)
        slot = platform.traffic.slots[RANKING]
        weights.append((slot.challenger.version, slot.weight_bp))
        revisions.append(platform.traffic.revision)
    assert weights == [(2, 0), (2, 1_000), (2, 1_000), (2, 1_000)]
    assert revisions[1] == revisions[3]


def test_a_challenger_that_no_replica_can_load_is_aborted_with_the_reason(platform):
    state = platform.controller.start([platform.register("ranking", "broken")], PLAN, ANA)
    over = platform.until(state.rollout, RolloutPhase.ABORTED)
    reason = platform.controller.book.history(over.rollout)[-1].entry.reason
    assert "ranking-challenger-1-1" in reason
    assert "wrong shape" in reason
    assert platform.serving() == {RANKING: ModelRef("ranking", 1)}
    assert platform.traffic.slots[RANKING].challenger is None


def test_an_abort_is_in_force_for_whoever_drives_next(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)
    other = platform.new_controller()  # another process takes the request; nobody drives
    assert other.request(state.rollout, Ask.ABORT, OPS).phase is RolloutPhase.ABORTED
    with pytest.raises(ConflictError):
        other.request(state.rollout, Ask.PROMOTE, OPS)
    platform.controller = platform.new_controller()
    platform.pass_time()
    assert platform.traffic.slots[RANKING].challenger is None
    assert platform.controller.book.get(state.rollout).phase is RolloutPhase.ABORTED


def test_a_promotion_waits_for_the_champions_replicas_without_blocking(platform):
    first, second = ModelRef("ranking", 1), platform.register("ranking")
    stuck = platform.replicas.pop(0)
    state = platform.controller.promote([second], OPS)
    for _ in range(5):
        platform.now += timedelta(seconds=1)
        stuck.tell()  # it lives, and does not look at the document
        report = platform.pass_time(1.0)
    assert platform.serving() == {RANKING: first}
    assert platform.traffic.prepare == (second,)
    assert [reason.code for reason in report.waiting[state.rollout]] == ["not_loaded"]
    platform.replicas.append(stuck)
    for _ in range(3):
        platform.pass_time(1.0)
    assert platform.serving() == {RANKING: second}
    assert platform.controller.book.get(state.rollout).phase is RolloutPhase.WATCH


def test_promoting_in_the_canary_lets_the_challenger_answer_everybody_until_replicas_have_it(platform):
    second = platform.register("ranking")
    state = platform.controller.start([second], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)
    stuck = platform.replicas.pop(0)
    platform.controller.request(state.rollout, Ask.PROMOTE, OPS)
    stuck.tell()
    report = platform.pass_time(0.1)
    slot = platform.traffic.slots[RANKING]
    assert (slot.champion, slot.weight_bp) == (ModelRef("ranking", 1), 10_000)
    assert [reason.code for reason in report.waiting[state.rollout]] == ["not_loaded"]
    platform.replicas.append(stuck)
    for _ in range(2):
        platform.pass_time(1.0)
    assert platform.serving() == {RANKING: second}


def test_a_rollback_long_after_takes_one_look_and_again_goes_one_further_back(platform):
    first = ModelRef("ranking", 1)
    refs = [platform.register("ranking") for _ in range(2)]
    for ref in refs:
        state = platform.controller.start([ref], PLAN, ANA)
        platform.until(state.rollout, RolloutPhase.COMPLETED)
        platform.pass_time(86_400.0)
    assert platform.serving() == {RANKING: refs[1]}
    assert refs[0] in platform.replicas[0].loaded
    assert platform.controller.roll_back(RANKING, OPS).phase is RolloutPhase.ROLLED_BACK
    platform.pass_time(1.0)
    assert platform.replicas[0].champion == refs[0]
    platform.pass_time(1.0)
    assert first in platform.replicas[0].loaded  # what it would go back to next
    platform.controller.roll_back(RANKING, OPS)
    platform.pass_time(1.0)
    assert platform.replicas[0].champion == first
    with pytest.raises(NotFoundError, match="no rollout made it so"):
        platform.controller.roll_back(RANKING, OPS)
    assert platform.pass_time(1.0).problems == ()
    assert platform.serving() == {RANKING: first}


def test_a_version_that_was_revoked_is_not_gone_back_to(platform):
    first, second = ModelRef("ranking", 1), platform.register("ranking")
    state = platform.controller.start([second], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.COMPLETED)
    revoke(platform.desk, AUTHOR, first)
    with pytest.raises(PermissionDeniedError, match="revoked"):
        platform.controller.roll_back(RANKING, OPS)


def test_a_challenger_whose_verdict_is_revoked_is_rolled_back(platform):
    second = platform.register("ranking")
    state = platform.controller.start([second], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)
    revoke(platform.desk, AUTHOR, second)
    platform.pass_time(1.0)
    assert platform.controller.book.get(state.rollout).phase is RolloutPhase.ROLLED_BACK


def test_one_rollout_a_slot_and_direct_promotions_are_refused_meanwhile(platform):
    second, third = platform.register("ranking"), platform.register("ranking")
    state = platform.controller.start([second], PLAN, ANA)
    for start in (platform.controller.start, platform.new_controller().start):
        with pytest.raises(ConflictError, match=state.rollout):
            start([third], PLAN, ANA)
    with pytest.raises(ConflictError, match="held by"):
        platform.controller.promote([third], OPS)
    with pytest.raises(InvalidInputError, match="belongs to the rollout"):
        platform.writer.promote([third], actor="olga")


def test_what_cannot_be_rolled_out_is_refused_before_anything_is_written(platform):
    first, controller = ModelRef("ranking", 1), platform.controller
    with pytest.raises(InvalidInputError, match=r"serves shop\.ranking already"):
        controller.start([first], PLAN, ANA)
    with pytest.raises(NotFoundError):
        controller.start([ModelRef("ranking", 9)], PLAN, ANA)
    with pytest.raises(InvalidInputError, match="slot"):
        controller.start([platform.register("ranking")], PLAN, ANA, slot="shop.other")
    with pytest.raises(NotFoundError):
        controller.roll_back("shop.nothing", OPS)
    with pytest.raises(NotFoundError):
        controller.request("nobody", Ask.ABORT, OPS)
    revoked = platform.register("ranking")
    revoke(platform.desk, AUTHOR, revoked)
    with pytest.raises(PermissionDeniedError, match="revoked"):
        controller.start([revoked], PLAN, ANA)
    assert controller.book.list() == []


def test_an_empty_slot_is_filled_and_emptied_again_by_harm(tmp_path):
    platform = Platform(tmp_path)
    only = platform.register("ranking")
    platform.replicas_of("ranking")
    state = platform.controller.start([only], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.WATCH)
    platform.pass_time(1.0)
    assert platform.serving() == {RANKING: only}
    platform.wrong = {only}
    platform.until(state.rollout, RolloutPhase.ROLLED_BACK)
    platform.pass_time(1.0)
    assert platform.serving() == {}
    assert served(platform.ledger, RANKING, platform.now).version is None


def test_slots_that_depend_on_each_other_move_together(tmp_path):
    platform = Platform(tmp_path)
    old = platform.register("retrieval")
    cold = platform.register("cold-start", needs=[old])
    platform.writer.promote([old, cold], actor="ana")
    platform.replicas_of("retrieval", "cold-start")
    new = platform.register("retrieval")
    with pytest.raises(InvalidInputError, match="works with"):
        platform.controller.start([new], PLAN, ANA)
    new_cold = platform.register("cold-start", needs=[new])
    state = platform.controller.start([new, new_cold], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)
    slots = platform.traffic.slots.values()
    assert {(slot.salt, slot.weight_bp, slot.bundle is None) for slot in slots} == {
        (state.salt, 1_000, False)
    }
    platform.until(state.rollout, RolloutPhase.COMPLETED)
    assert set(platform.serving().values()) == {new, new_cold}
    platform.controller.roll_back("shop.retrieval", OPS)
    platform.pass_time(1.0)
    assert set(platform.serving().values()) == {old, cold}


def test_without_traffic_it_holds_and_is_aborted_at_the_deadline(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY, requests=0)
    for _ in range(20):
        report = platform.pass_time(300.0)
        assert platform.controller.book.get(state.rollout).phase is RolloutPhase.CANARY
        assert [reason.code for reason in report.waiting[state.rollout]] == ["too_few"]
    platform.pass_time(1_800.0)
    assert platform.controller.book.get(state.rollout).phase is RolloutPhase.ABORTED
    assert platform.traffic.slots[RANKING].challenger is None


def test_tallies_that_cannot_be_read_hold_it_and_abort_it_at_the_deadline(platform, monkeypatch):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)

    def fail():
        raise DependencyError("the folder is gone")

    monkeypatch.setattr(platform.tallies, "read", fail)
    for _ in range(3):
        report = platform.pass_time(60.0, 1_000)
        assert platform.controller.book.get(state.rollout).step == 0
        assert "the folder is gone" in " ".join(why.message for why in report.waiting[state.rollout])
    platform.pass_time(7_200.0, 1_000)
    assert platform.controller.book.get(state.rollout).phase is RolloutPhase.ABORTED


def test_tallies_that_nobody_writes_any_more_hold_it(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)
    platform.pass_time(20.0, 10_000)
    platform.now += timedelta(seconds=50)
    platform.follow()
    report = platform.controller.tick()
    assert "none was written for 50 s" in report.waiting[state.rollout][0].message


def test_a_registry_that_is_gone_holds_a_promotion_and_says_so(platform, monkeypatch):
    second = platform.register("ranking")
    state = platform.controller.promote([second], OPS)
    platform.pass_time(1.0)

    def fail(*_):
        raise DependencyError("MLflow does not answer")

    for name in ("get", "resolve", "set_alias"):
        monkeypatch.setattr(platform.registry, name, fail)
    report = platform.pass_time(6.0)
    assert "MLflow does not answer" in " ".join(why.message for why in report.waiting[state.rollout])
    assert platform.serving() == {RANKING: ModelRef("ranking", 1)}
    monkeypatch.undo()
    for _ in range(3):
        platform.pass_time(6.0)
    assert platform.serving() == {RANKING: second}


def test_an_alias_that_was_moved_is_put_back_and_recorded(platform):
    second = platform.register("ranking")
    platform.pass_time(1.0)
    platform.registry.set_alias(second, "champion")
    platform.registry.set_alias(second, "challenger")
    reverted = [one for _ in range(30) for one in platform.pass_time(1.0).reverted]
    assert {(one.alias, one.found, one.wanted) for one in reverted} == {
        ("champion", second, ModelRef("ranking", 1)),
        ("challenger", second, None),
    }
    assert platform.registry.resolve("ranking").ref == ModelRef("ranking", 1)
    assert platform.registry.get(second).aliases == frozenset()
    entries = list(platform.ledger.entries(kinds=[EntryKind.ALIAS_REVERTED]))
    assert [(entry.actor, entry.subject) for entry in entries] == [("rollout-controller", RANKING)] * 2


def test_an_alias_that_was_moved_while_nobody_drove_is_recorded_too(platform):
    second, third = platform.register("ranking"), platform.register("ranking")
    platform.registry.set_alias(third, "champion")
    platform.controller = platform.new_controller()
    assert [one.found for one in platform.pass_time(1.0).reverted] == [third]
    platform.controller.promote([second], OPS)
    for _ in range(4):
        assert platform.pass_time(1.0).reverted == ()
    assert platform.registry.resolve("ranking").ref == second


def test_a_holdback_keeps_its_version_and_ends_by_its_time(platform):
    first, second = ModelRef("ranking", 1), platform.register("ranking")
    plan = replace(PLAN, holdback_bp=500, holdback_days=2.0)
    state = platform.controller.start([second], plan, ANA)
    platform.until(state.rollout, RolloutPhase.COMPLETED)
    platform.pass_time(1.0)
    slot = platform.traffic.slots[RANKING]
    assert (slot.holdback.version, slot.holdback.share_bp, slot.holder) == (first, 500, None)
    platform.pass_time(86_400.0)
    assert platform.traffic.slots[RANKING].holdback is not None
    platform.pass_time(86_400.0)
    assert platform.traffic.slots[RANKING].holdback is None
    ended = list(platform.ledger.entries(kinds=[EntryKind.HOLDBACK_ENDED]))
    assert [entry.subject for entry in ended] == [state.rollout]
    platform.pass_time(60.0)
    assert len(list(platform.ledger.entries(kinds=[EntryKind.HOLDBACK_ENDED]))) == 1
    platform.controller.roll_back(RANKING, OPS)
    platform.pass_time(1.0)
    assert platform.serving() == {RANKING: first}


def test_a_retry_is_a_new_rollout_that_says_of_which(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    with pytest.raises(ConflictError):
        platform.controller.retry(state.rollout, ANA)
    platform.controller.request(state.rollout, Ask.ABORT, OPS)
    platform.pass_time(1.0)
    again = platform.controller.retry(state.rollout, ANA)
    assert (again.retries, again.challengers) == (state.rollout, state.challengers)
    assert again.salt != state.salt
    platform.until(again.rollout, RolloutPhase.COMPLETED)


def test_looking_says_what_is_waited_for_and_changes_nothing(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY, requests=0)
    entries = platform.ledger.last().seq
    platform.now += timedelta(seconds=1)
    look = platform.new_controller().look(state.rollout)
    assert [reason.code for reason in look.state.waits_for] == ["least_time", "too_few"]
    assert look.analysis.verdict.value == "inconclusive"
    assert look.evidence.slots[RANKING].replicas == 2
    assert platform.ledger.last().seq == entries


def test_who_does_not_lead_does_nothing(platform):
    lead = MemoryLead()
    assert MemoryLeadership(lead).try_lead()
    platform.controller = platform.new_controller(leadership=MemoryLeadership(lead))
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    assert not platform.pass_time(1.0).leads
    assert platform.traffic.slots[RANKING].holder is None
    assert phases(platform, state.rollout) == ["preparing"]


def test_a_clock_that_jumps_skips_no_step(platform):
    state = platform.controller.start([platform.register("ranking")], PLAN, ANA)
    platform.until(state.rollout, RolloutPhase.CANARY)
    before = platform.now
    platform.pass_time(3_000.0, 1_000)
    platform.now = before
    platform.pass_time(1.0, 1_000)
    platform.until(state.rollout, RolloutPhase.COMPLETED)
    assert phases(platform, state.rollout) == ["preparing", *["canary"] * 3, "watch", "completed"]
