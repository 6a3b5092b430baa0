"""Asking for versions, reviews, overrides and the ledger."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from streamrec.contracts.models import ModelSpec
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.operating_policy import ReviewPolicy
from streamrec.governance.deployment import settle
from tests.promoted import judgement
from tests.rolled_out import ANA, SIGNATURE

REPORT = SimpleNamespace(verdict=Verdict.PASSED, to_json=lambda: {"made": "up"})


def gates(platform, **judged):
    """Gates that settle a judgement, without running anything."""

    def judge(by, refs, progress):
        progress.start("gate artifact", 1)
        progress.finish("passed")
        return [
            SimpleNamespace(
                report=REPORT,
                found=settle(platform.desk, by, judgement(platform.registry.get(ref), **judged)),
            )
            for ref in refs
        ]

    return judge


def finished(asked_by, answer):
    assert answer.status_code == 202, answer.text
    for _ in range(500):
        found = asked_by("viv", "GET", answer.headers["location"]).json()
        if found["stage"] in ("done", "failed"):
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def deploy(asked_by, version, who="sam", **changes):
    return asked_by(who, "POST", "/v1/deployments", json={"models": [version], "reason": "better"} | changes)


@pytest.fixture
def version(platform):
    spec = ModelSpec("ranking", SIGNATURE, "d", "s", slot="shop.ranking")
    return str(platform.registry.register(spec, platform.folder / "artifact-ranking").ref)


def test_what_passes_its_gates_is_rolled_out(platform, asked_by, judged, version):
    judged.append(gates(platform))
    done = finished(asked_by, deploy(asked_by, version))
    assert done["stage"] == "done", done
    assert done["lines"] == ["gate artifact: passed"]
    assert done["found"][0]["standing"] == "eligible"
    state = platform.controller.book.get(done["rollout"])
    assert (state.by, state.reason) == ("sam", "better")
    shown = asked_by("viv", "GET", "/v1/models/ranking/versions").json()["items"]
    assert [one["model"] for one in shown] == [version, "ranking@1"]
    assert shown[0]["eligibility"]["standing"] == "eligible"


def test_what_is_blocked_is_not_and_the_reason_is_said(platform, asked_by, judged, version):
    judged.append(gates(platform, fairness=Verdict.FAILED))
    done = finished(asked_by, deploy(asked_by, version))
    assert (done["found"][0]["standing"], done["rollout"]) == ("blocked", None)
    plans = asked_by("viv", "GET", "/v1/remediations").json()["items"]
    assert plans[0]["model"] == version
    closed = asked_by(
        "ria", "POST", f"/v1/remediations/{plans[0]['number']}/close", json={"reason": "mended"}
    )
    assert closed.json()["closed_by"] == "ria"


def test_a_version_that_wants_a_review_is_rolled_out_once_somebody_else_agrees(
    platform, asked_by, judged, version
):
    judged.append(gates(platform, review=ReviewPolicy(approvals=1)))
    done = finished(asked_by, deploy(asked_by, version))
    assert (done["found"][0]["standing"], done["rollout"]) == ("awaiting review", None)
    waiting = asked_by("rae", "GET", "/v1/reviews").json()["items"]
    assert [one["model"] for one in waiting] == [version]
    agreed = asked_by("rae", "POST", f"/v1/reviews/{version}/approve", json={"reason": "read the report"})
    assert agreed.json()["problem"] == ""
    assert platform.controller.book.get(agreed.json()["rollout"]).by == "sam"


def test_gates_that_cannot_run_are_said(asked_by, judged, version):
    def broken(*_):
        raise RuntimeError("a defect")

    judged.append(broken)
    done = finished(asked_by, deploy(asked_by, version))
    assert done["stage"] == "failed"
    assert "its log says what" in done["problem"]


def test_a_slot_that_is_held_is_said_beside_what_the_gates_found(platform, asked_by, judged, version):
    platform.controller.start([platform.register("ranking")], None, ANA)
    judged.append(gates(platform))
    done = finished(asked_by, deploy(asked_by, version))
    assert (done["found"][0]["standing"], done["rollout"]) == ("eligible", None)
    assert "is held by" in done["problem"]


def test_an_override_is_granted_shown_and_ended(platform, asked_by, judged, version):
    judged.append(gates(platform, fairness=Verdict.FAILED))
    finished(asked_by, deploy(asked_by, version))
    granted = asked_by("ria", "POST", f"/v1/overrides/{version}", json={"reason": "known", "days": 3.0})
    assert granted.status_code == 201, granted.text
    [one] = asked_by("viv", "GET", "/v1/overrides").json()["items"]
    assert one["in_force"] is True
    ended = asked_by("ria", "POST", f"/v1/overrides/{one['number']}/end", json={"reason": "mended"})
    assert ended.status_code == 200, ended.text
    assert asked_by("viv", "GET", "/v1/overrides").json()["items"][0]["in_force"] is False


def test_the_ledger_is_read_and_verified(asked_by):
    entries = asked_by("viv", "GET", "/v1/ledger/entries?limit=2").json()
    assert [entry["seq"] for entry in entries["items"]] == [1, 2]
    assert (
        asked_by("viv", "GET", f"/v1/ledger/entries?after={entries['next']}").json()["items"][0]["seq"] == 3
    )
    assert asked_by("viv", "GET", "/v1/ledger/verification").json()["verdict"] == "passed"
    told = asked_by("viv", "GET", "/v1/ledger/served?slot=shop.ranking").json()
    assert told["version"] == "ranking@1"
    assert asked_by("viv", "GET", "/v1/ledger/served?slot=shop.ranking&at=noon").status_code == 422


def test_metrics_are_listed_and_unknown_ones_refused(asked_by):
    assert asked_by("viv", "GET", "/v1/metrics").json()["metrics"]
    missing = asked_by("viv", "GET", "/v1/metrics/no_such?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z")
    assert missing.status_code == 404
