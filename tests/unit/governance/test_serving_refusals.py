from __future__ import annotations

from datetime import timedelta

import pytest

from streamrec.contracts.models import ModelRef
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.governance.deployment import break_glass, revoke
from streamrec.governance.people import end_override, grant_override
from streamrec.governance.serving_refusals import refusals
from tests.unit.governance.test_decisions import AUTHOR, DAY, LEAD, ONCALL, Office


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


def overridden(office):
    office.settle(fairness=Verdict.FAILED)
    grant_override(office.desk, LEAD, office.ref, GateName.FAIRNESS, office.now + DAY)
    assert office.settle(fairness=Verdict.FAILED).eligible


def why(office):
    return refusals(office.ledger, [office.ref, ModelRef("other", 1)], office.now).get(office.ref, "")


def test_nothing_speaks_against_what_gates_passed_or_nobody_knows(office):
    assert why(office) == ""
    office.settle()
    assert why(office) == ""


def test_a_later_judgement_takes_nothing_down(office):
    office.settle()
    office.settle(quality=Verdict.FAILED)
    assert why(office) == ""


def test_a_revoked_verdict_must_not_serve_until_there_is_a_new_one(office):
    office.settle()
    revoke(office.desk, ONCALL, office.ref)
    assert why(office) == "the verdict over clicks@1 was revoked by pat: because"
    office.now += timedelta(seconds=1)
    office.settle()
    assert why(office) == ""


def test_an_override_that_ended_by_itself_lets_nothing_serve(office):
    overridden(office)
    assert why(office) == ""
    office.now += DAY - timedelta(microseconds=1)
    assert why(office) == ""
    office.now += timedelta(microseconds=1)
    assert why(office) == (
        "nobody answers for fairness of clicks@1 any more: the override by rai ended on 2026-11-29 00:00Z"
    )
    # Asked for again without one: it is blocked, and what was signed before still lies there.
    office.settle(fairness=Verdict.FAILED)
    assert "nobody answers for fairness" in why(office)


def test_one_that_somebody_ended_says_so_and_another_one_mends_it(office):
    overridden(office)
    (override,) = office.desk.eligibility(office.ref).overrides
    office.now += timedelta(hours=1)
    end_override(office.desk, LEAD, override.number)
    assert "the override by rai was ended on 2026-11-28 01:00Z" in why(office)
    grant_override(office.desk, LEAD, office.ref, GateName.FAIRNESS, office.now + DAY)
    assert why(office) == ""


def test_broken_glass_rests_on_no_override(office):
    overridden(office)
    office.now += DAY
    break_glass(office.desk, ONCALL, office.ref)
    assert why(office) == ""
    office.settle(AUTHOR)
    assert why(office) == ""
