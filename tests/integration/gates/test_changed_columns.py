"""Failure case 15, before deployment: a feature column dropped, renamed, retyped or empty is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.all_gates import Traffic, run_gates
from streamrec.gates.evaluation_data import EvaluationData
from streamrec.gates.request_table import checked_request_table
from streamrec.gates.skew.logged_requests import LoggedRequests
from tests.judged_versions import ISOLATED, NOW, SHORT, codes, contender, judged, of_gate
from tests.small_spoke import features_as_trained, made_table

CHANGES = {
    "dropped": lambda frame: frame.drop(columns=["price"]),
    "renamed": lambda frame: frame.rename(columns={"price": "price_eur"}),
    "retyped": lambda frame: frame.assign(price=frame["price"].map(lambda price: f"{price:.2f} EUR")),
    "empty": lambda frame: frame.assign(price=np.nan),
}


@pytest.mark.parametrize("change", CHANGES)
def test_in_the_evaluation_data_it_is_refused(tmp_path, change):
    report = judged(contender(tmp_path), frame=CHANGES[change](made_table(400)))
    assert of_gate(report, GateName.ARTIFACT).verdict is Verdict.FAILED
    assert report.verdict is Verdict.FAILED


def logged(features):
    requests = pd.DataFrame(
        {
            "request_id": [f"l{number}" for number in range(len(features))],
            "unit": [f"u{number}" for number in range(len(features))],
            "at": pd.Timestamp("2026-05-31", tz="UTC"),
        }
    )
    return LoggedRequests(len(features), requests, features, {}, {})


def skew_of(folder, served):
    candidate = contender(folder, more="skew: {features: 'small_spoke:features_as_trained'}\n")
    table = checked_request_table(made_table(400), candidate.specification.task)
    report = run_gates(
        candidate,
        None,
        EvaluationData(table, data=folder),
        Traffic(NOW, logged(served)),
        ISOLATED,
        SilentProgress(),
        turns=SHORT,
    )
    return report, of_gate(report, GateName.SKEW)


def served_features():
    return features_as_trained(None, pd.DataFrame({"unit": [f"u{number}" for number in range(400)]}))


def test_features_that_are_served_as_they_were_trained_pass(tmp_path):
    _, skew = skew_of(tmp_path, served_features())
    assert skew.verdict is Verdict.PASSED


@pytest.mark.parametrize("change", CHANGES)
def test_in_what_is_served_it_is_refused(tmp_path, change):
    report, skew = skew_of(tmp_path, CHANGES[change](served_features()))
    assert skew.verdict is Verdict.FAILED
    assert "price" in " ".join(reason.message + reason.path for reason in skew.reasons)
    assert report.verdict is Verdict.FAILED
    assert codes(report, GateName.ARTIFACT) == []
