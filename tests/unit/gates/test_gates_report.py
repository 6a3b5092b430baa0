"""All gates together: only when every one has passed, in isolation, has the version passed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.gate_results import gate_error, gate_result, reason
from streamrec.gates.gates_report import GatesReport
from streamrec.gates.reports.html import MEANINGS, render_report
from streamrec.gates.runner import Enforcement, Isolation

ISOLATED = Enforcement(
    Isolation.NAMESPACES,
    Isolation.LANDLOCK,
    Isolation.SECCOMP,
    Isolation.RESOURCE_LIMITS,
    Isolation.RESOURCE_LIMITS,
)
HOSTILE = "<script>alert(1)</script>"


def report(**changes):
    whole = GatesReport(
        subject="shop-clicks@2",
        at=datetime(2026, 6, 1, 12, tzinfo=UTC),
        specification_digest="a" * 64,
        artifact_digest="b" * 64,
        champion="shop-clicks@1",
        data_set="world",
        isolation=ISOLATED,
        isolation_waived=False,
        results=tuple(gate_result(gate, "shop-clicks@2", {"share": 0.5}) for gate in GateName),
    )
    return replace(whole, **changes)


def with_result(gate, result):
    results = tuple(result if name is gate else gate_result(name, "shop-clicks@2", {}) for name in GateName)
    return report(results=results)


def test_all_passed_is_passed():
    assert report().verdict is Verdict.PASSED
    assert report().result.reasons == ()
    assert set(report().evidence_digests) == set(GateName)


@pytest.mark.parametrize("gate", GateName)
def test_a_gate_that_did_not_run_has_not_passed(gate):
    found = report(results=tuple(gate_result(name, "m", {}) for name in GateName if name is not gate))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert gate.value in found.result.reasons[0].message


@pytest.mark.parametrize("gate", GateName)
def test_one_failed_gate_fails_all_and_an_error_is_an_error(gate):
    bad = [reason("bad", "somewhere", "it is bad")]
    failed = with_result(gate, gate_result(gate, "m", {}, failed=bad))
    assert failed.verdict is Verdict.FAILED
    assert failed.result.reasons[0].path == f"{gate}.somewhere"
    assert with_result(gate, gate_result(gate, "m", {}, inconclusive=bad)).verdict is Verdict.INCONCLUSIVE
    assert with_result(gate, gate_error(gate, "m", "it broke")).verdict is Verdict.ERROR


@pytest.mark.parametrize("kept", ["network", "memory", "time"])
def test_without_isolation_it_is_inconclusive_unless_that_is_waived(kept):
    weak = report(isolation=replace(ISOLATED, **{kept: Isolation.NOT_ENFORCED}))
    assert weak.verdict is Verdict.INCONCLUSIVE
    assert weak.result.reasons[0].code == "isolation_not_enforced"
    waived = replace(weak, isolation_waived=True)
    assert waived.verdict is Verdict.PASSED
    assert waived.to_json()["isolation_waived"] is True
    assert waived.to_json()["isolation"][kept] == "not enforced"


def test_the_weakest_of_several_runs_counts():
    seccomp = replace(ISOLATED, network=Isolation.SECCOMP)
    assert Enforcement.weakest(ISOLATED, seccomp).network is Isolation.SECCOMP
    assert Enforcement.weakest(seccomp, Enforcement()).network is Isolation.NOT_ENFORCED
    assert not Enforcement.weakest().isolated


def test_what_is_written_is_read_and_an_edited_verdict_is_not():
    written = json.loads(json.dumps(report().to_json()))
    assert GatesReport.from_json(written) == report()
    for name, value in (("verdict", "failed"), ("champion", 5), ("subject", "other@1")):
        edited = json.loads(json.dumps(written))
        if name == "subject":
            edited["gates"][0]["evidence"]["share"] = 0.6
        else:
            edited[name] = value
        with pytest.raises(InvalidInputError):
            GatesReport.from_json(edited)


def test_the_page_holds_every_gate_and_reason_and_runs_nothing():
    bad = [reason("worse", "quality.margin", f"it is worse {HOSTILE}")]
    evidence = {
        "difference": {"value": -0.1, "low": -0.2, "high": -0.05},
        "names": [HOSTILE],
        "n": 12345,
        "groups": {"a=x": {"count": 3, HOSTILE: "y"}, HOSTILE: {"count": 4, HOSTILE: "z"}},
    }
    page = render_report(
        with_result(GateName.QUALITY, gate_result(GateName.QUALITY, "m", evidence, failed=bad))
    )
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "-0.1 (-0.2 to -0.05)" in page
    assert "12,345" in page
    assert "<td>a=x</td><td>3</td><td>y</td>" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http-equiv", "")
    for gate in GateName:
        assert f'id="{gate}"' in page
    assert set(MEANINGS) == set(GateName)
