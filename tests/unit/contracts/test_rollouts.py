"""States, evidence and tallies of rollouts: forms that ledgers keep must not change by accident."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.contracts.models import ModelRef
from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.evidence import RolloutEvidence, SlotEvidence, StepEvidence, UnitSums
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.rollouts.tallies import (
    LATENCY_BUCKETS,
    Answers,
    ServedTally,
    TallyRow,
    latency_bucket,
    upper_edge_ms,
)
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.specification.rollout_plan import OutcomeCriterion, RolloutPlan

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "rollouts"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = ModelRef("ranker", 1), ModelRef("ranker", 2)
ANSWERS = Answers(asked=20, failed=1, malformed=2, late=3, degraded=4, latency={"20": 13, "31": 1})

STATE = RolloutState(
    rollout="ranker-2-a1b2c3",
    moves=(Move("shop.ranking", NEW, OLD, "click_rate", 50.0),),
    plan=RolloutPlan(shadow_hours=1.0, holdback_bp=100, outcome=OutcomeCriterion(margin=0.03)),
    salt="salt-1",
    phase=RolloutPhase.CANARY,
    step=2,
    paused=True,
    waits_for=(Reason("paused", "rollout", "somebody has paused it"),),
    started_at=NOON,
    phase_began_at=NOON,
    by="ana",
    role=ActorRole.SPOKE,
    reason="a better model",
    number=7,
    retries="ranker-2-000000",
)
EVIDENCE = RolloutEvidence(
    NOON,
    {
        "shop.ranking": SlotEvidence(
            steps=(
                StepEvidence(
                    100,
                    champion=ANSWERS,
                    challenger=ANSWERS,
                    outcome_champion=UnitSums(3, 2.0, 9.0, 2.0, 6.0, 29.0),
                ),
            ),
            watch=StepEvidence(0, holdback=ANSWERS),
            loaded=True,
            replicas=2,
            problem="ranker@2: no memory",
        )
    },
    missing=("the registry of models: no answer",),
    refused="its verdict was revoked",
)
TALLY = ServedTally(
    "gateway-1", NOON, (TallyRow("shop.ranking", ServingRole.CHALLENGER, NEW, STATE.rollout, 100, ANSWERS),)
)


@pytest.mark.parametrize("document", [STATE, EVIDENCE, TALLY], ids=["rollout", "evidence", "tally"])
def test_the_golden_document_is_what_is_written_and_read(document):
    golden = json.loads((GOLDEN / f"{document.schema.split('.')[1]}.json").read_text())
    assert document.to_json() == golden
    assert type(document).from_json(golden) == document


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"moves": []}, "moves"),
        ({"step": 5}, "step"),
        ({"rollout": "Ranker 2"}, "rollout"),
        ({"salt": "a:b"}, "salt"),
        ({"phase": "sleeping"}, "phase"),
        ({"number": 0}, "number"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_damaged_state_is_refused_with_its_path(changes, path):
    with pytest.raises(InvalidInputError) as refused:
        RolloutState.from_json(STATE.to_json() | changes)
    assert refused.value.field.startswith(path)


def test_a_challenger_that_serves_already_is_refused():
    with pytest.raises(InvalidInputError, match="serves already"):
        replace(STATE.moves[0], challenger=OLD)


@pytest.mark.parametrize(
    ("phase", "step", "weight_bp", "champions_load"),
    [
        (RolloutPhase.PREPARING, 0, 0, False),
        (RolloutPhase.SHADOW, 0, 0, False),
        (RolloutPhase.CANARY, 0, 100, False),
        (RolloutPhase.CANARY, 4, 10_000, True),
        (RolloutPhase.WATCH, 0, 0, True),
        (RolloutPhase.ROLLED_BACK, 0, 0, False),
    ],
)
def test_who_answers_and_who_loads_follows_from_the_phase(phase, step, weight_bp, champions_load):
    state = replace(STATE, phase=phase, step=step)
    assert (state.weight_bp, state.champions_load) == (weight_bp, champions_load)
    if phase is RolloutPhase.PREPARING:
        assert replace(state, without_canary=True).champions_load


@given(st.floats(0.0, 600_000.0))
def test_a_latency_lies_in_its_bucket(latency_ms):
    bucket = latency_bucket(latency_ms)
    assert 0 <= bucket < LATENCY_BUCKETS
    tolerance = 1.0 + 1e-9
    assert latency_ms <= upper_edge_ms(bucket) * tolerance or bucket == LATENCY_BUCKETS - 1
    assert bucket == 0 or latency_ms * tolerance > upper_edge_ms(bucket - 1)


def test_answers_add_up_and_only_buckets_wholly_beyond_a_limit_are_slow():
    both = ANSWERS + Answers(asked=5, late=1, latency={"31": 4})
    assert (both.asked, both.wrong, both.latency) == (25, 7, {"20": 13, "31": 5})
    edge = upper_edge_ms(30)
    assert both.slower_than(edge) == 5
    assert both.slower_than(edge * 1.01) == 0, "the bucket holds answers on both sides"
    assert Answers() + ANSWERS == ANSWERS


@pytest.mark.parametrize("counts", [{"asked": 1, "failed": 2}, {"latency": {"80": 1}}, {"latency": {"x": 1}}])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(InvalidInputError):
        Answers(**counts)


def test_what_is_held_back_comes_off_the_challenger():
    plan = RolloutPlan(holdback_bp=2_000, requests_per_hour=10_000.0)
    assert [plan.challenger_share(step) for step in plan.steps] == pytest.approx([0.008, 0.04, 0.2, 0.4, 0.8])
    assert plan.least_hours(plan.steps[0]) == pytest.approx(1_000 / 80)
