from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.results import Verdict
from streamrec.contracts.rollouts.evidence import SlotEvidence, StepEvidence
from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.contracts.rollouts.tallies import Answers, latency_bucket
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.rollout.book import RolloutBook
from streamrec.rollout.replay import ChangedPolicy, read_past_rollouts, replay
from streamrec.rollout.requests import Ask, Start, asked, started
from streamrec.rollout.step import step
from streamrec.rollout.told_changes import By
from tests.made_rollouts import BEGAN, BY, PLAN, a_move, evidence_of

OPS = By("olga", ActorRole.PLATFORM, "it looks wrong")


def policy(**rollout) -> ChangedPolicy:
    return ChangedPolicy.from_json({"rollout": rollout})


def answers(asked_times: int, wrong: int = 0) -> Answers:
    fast = {str(latency_bucket(5.0)): asked_times - wrong} if asked_times > wrong else {}
    return Answers(asked=asked_times, failed=wrong, latency=fast)


class Course:
    """A rollout that is driven by the real rules, every two minutes, with some answers a look."""

    def __init__(self, *, wrong_at: int | None = None, look: timedelta = timedelta(minutes=2)) -> None:
        self.now, self.look = BEGAN, look
        self.ledger = MemoryLedger(clock=lambda: self.now)
        self.book = RolloutBook(self.ledger)
        self.state = self.book.append(
            None, started(Start(name="ranker-2", salt="s", moves=[a_move()], plan=PLAN), BY, BEGAN), by=BY
        )
        self.wrong_at = wrong_at
        self.seen: dict[int, tuple[Answers, Answers]] = {}
        self.watched = Answers()

    def until_over(self, looks: int = 200) -> None:
        for _ in range(looks):
            if self.state.phase.is_over:
                return
            self.once()
        raise AssertionError(f"still {self.state.phase}")

    def once(self) -> None:
        self.now += self.look
        weight = self.state.weight_bp
        if weight:
            own, other = self.seen.get(weight, (Answers(), Answers()))
            wrong = 40 if weight == self.wrong_at else 0
            self.seen[weight] = (own + answers(40, wrong), other + answers(400 if weight < 10_000 else 0))
        if self.state.phase is RolloutPhase.WATCH:
            self.watched += answers(400)
        steps = tuple(
            StepEvidence(weight_bp=weight, challenger=own, champion=other)
            for weight, (own, other) in self.seen.items()
        )
        watch = None if self.state.phase is not RolloutPhase.WATCH else StepEvidence(0, self.watched)
        slots = {"shop.ranking": SlotEvidence(steps=steps, watch=watch, loaded=True, replicas=2)}
        evidence = evidence_of(self.state, self.now, slots=slots)
        decision = step(self.state, evidence, self.now)
        if decision.kind is not None:
            self.state = self.book.append(self.state, decision, evidence=evidence)

    def ask(self, ask: Ask) -> None:
        self.state = self.book.append(
            self.state, asked(self.state, ask, OPS, self.now), by=OPS, request=ask.value
        )

    def replayed(self, changed: ChangedPolicy):
        return replay(read_past_rollouts(self.ledger), (), changed)


@pytest.fixture(scope="module")
def healthy() -> Course:
    course = Course()
    course.until_over()
    return course


def test_a_policy_that_changes_nothing_that_decided_gives_every_decision_again(healthy) -> None:
    result, rows = healthy.replayed(policy(deadline_hours=13.0))
    assert [(row.what, row.decided) for row in rows] == [
        ("preparing", "canary 10 %"),
        ("canary 10 %", "canary 50 %"),
        ("canary 50 %", "canary 100 %"),
        ("canary 100 %", "watch"),
        ("watch", "completed"),
    ]
    assert all(row.would_be == row.decided for row in rows)
    assert result.verdict is Verdict.PASSED
    assert result.to_json()["counts"] == {"decisions": 5, "same": 5, "flips": 0, "unknown": 0}


def test_more_samples_would_have_held_and_what_follows_is_unknown(healthy) -> None:
    result, rows = healthy.replayed(policy(minimum_samples=100_000))
    assert [row.flips for row in rows] == [False, True, False, False, False]
    assert rows[1].would_be == "canary 10 %, held"
    assert "100,000" in rows[1].reasons[0]
    assert [row.would_be for row in rows[2:]] == [None] * 3
    assert rows[1].later == "completed"
    flip, lost = result.reasons
    assert (flip.code, flip.path) == ("would_flip", "decisions.1")
    assert "later: completed" in flip.message
    assert (lost.code, result.to_json()["decisions"][2]["would_be"]) == ("unknown", "unknown")


def test_a_rollback_that_a_smaller_budget_would_not_have_made() -> None:
    course = Course(wrong_at=1_000, look=timedelta(seconds=1))
    course.until_over(2_000)
    (row,) = [row for row in course.replayed(policy(false_rollbacks=1e-12))[1] if row.what == "canary 10 %"]
    assert row.decided == "rolled back"
    same = course.replayed(policy(false_rollbacks=0.05))[1][-1]
    assert same.would_be == "rolled back"


def test_what_people_asked_for_is_no_policys_and_shows_in_what_happened_later() -> None:
    course = Course()
    while course.state.phase is not RolloutPhase.WATCH:
        course.once()
    course.ask(Ask.ROLLBACK)
    rows = course.replayed(policy(deadline_hours=13.0))[1]
    assert [row.what for row in rows] == ["preparing", "canary 10 %", "canary 50 %", "canary 100 %"]
    assert rows[0].later.startswith("rolled back after it had become champion: it looks wrong")


def test_what_is_not_what_was_decided_by_is_unknown(healthy) -> None:
    (past,) = read_past_rollouts(healthy.ledger)
    lost = replace(past.transitions[2], evidence=None)
    other = replace(past.transitions[1], state=replace(past.transitions[1].state, phase=RolloutPhase.ABORTED))
    for changed_history, why in (
        ((*past.transitions[:2], lost), "was not kept"),
        ((past.transitions[0], other), "another one decided"),
    ):
        rows = replay([replace(past, transitions=changed_history)], (), policy(watch_hours=2.0))[1]
        assert rows[-1].would_be is None
        assert why in rows[-1].reasons[0]


def test_a_plan_that_would_be_none_is_unknown_and_said(healthy) -> None:
    result, rows = healthy.replayed(policy(deadline_hours=0.1))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "the changed plan is none for this rollout: deadline_hours" in rows[0].reasons[0]


def test_only_rollouts_that_began_in_the_range_are_replayed(healthy) -> None:
    after_it = BEGAN + timedelta(minutes=1)
    assert read_past_rollouts(healthy.ledger, start=after_it) == ()
    assert len(read_past_rollouts(healthy.ledger, end=after_it)) == 1
    assert replay((), (), policy(watch_hours=2.0))[0].reasons[0].code == "nothing_decided"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"rollout": {"weights": [1]}}, "rollout.weights"),
        ({"rollout": {"watch_hours": -1.0}}, "rollout.watch_hours"),
        ({"gates": {"quality": {"confidence": 0.9}}}, "gates.quality.confidence"),
        ({"gates": {"fairness": {"metrics": {"beauty": 0.1}}}}, "gates.fairness.metrics.beauty"),
    ],
)
def test_a_policy_that_says_what_nobody_knows_is_refused_with_its_path(document, path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ChangedPolicy.from_json(document)
    assert refused.value.field.startswith(path)


def test_a_policy_that_changes_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="changes nothing"):
        ChangedPolicy.from_json({"rollout": {}})
