from __future__ import annotations

import json

import pytest

from services.recommendations.evaluation.closed_loop_arms import OLD, PIPELINE
from services.recommendations.evaluation.measured_elsewhere import (
    OLD_POLICY,
    SERVED_POLICY,
    read_figures,
    with_other_commands,
)
from streamrec.contracts.errors import InvalidInputError


def interval(value):
    return {
        "value": value,
        "low": value - 0.01,
        "high": value + 0.01,
        "level": 0.95,
        "method": "percentile_bootstrap",
        "n": 400,
    }


def closed_loop(churn):
    return {SERVED_POLICY: {"summary": {"seven_day_churn": interval(churn)}}}


def tuning(items, recall=0.992, share=0.3):
    chosen = {"kind": "ivf_sq8", "recall": interval(recall)}
    return {"item_count": items, "chosen": chosen, "time_share_of_exact": share}


def bar(name, met):
    return {"name": name, "group": "index", "met": met}


def test_the_arms_are_called_what_the_closed_loop_calls_them():
    assert (OLD_POLICY, SERVED_POLICY) == (OLD, PIPELINE)


@pytest.mark.parametrize(("churn", "met"), [(0.35, True), (0.351, False)])
def test_churn_is_held_to_its_bar(churn, met):
    report = with_other_commands({"models": {}, "bars": []}, closed_loop=closed_loop(churn))
    (found,) = report["bars"]
    assert (found["met"], found["figure"], found["interval"]) == (met, churn, interval(churn))
    assert report["closed_loop"] == closed_loop(churn)


def test_a_measured_index_takes_the_place_of_one_that_was_not():
    before = [bar("recall@500 against exact search", None), bar("another", None), bar("third", True)]
    report = with_other_commands({"bars": before}, index_tuning=tuning(200_000, share=0.4))
    names = {found["name"]: found["met"] for found in report["bars"]}
    assert names == {
        "another": None,
        "third": True,
        "recall@500 against exact search": True,
        "share of exact search's median time": False,
    }
    # A smaller catalogue says nothing about the bar.
    assert with_other_commands({"bars": before}, index_tuning=tuning(20_000))["bars"] == before


@pytest.mark.parametrize("figures", [{}, {SERVED_POLICY: {}}, {SERVED_POLICY: {"summary": None}}])
def test_figures_of_something_else_are_refused(figures):
    with pytest.raises(InvalidInputError, match="figures"):
        with_other_commands({"bars": []}, closed_loop=figures)
    with pytest.raises(InvalidInputError, match="figures"):
        with_other_commands({"bars": []}, index_tuning=figures)


@pytest.mark.parametrize("text", ["", "[]", "[" * 9_999, "{"])
def test_files_that_are_no_figures_are_named(tmp_path, text):
    path = tmp_path / "figures.json"
    with pytest.raises(InvalidInputError, match="figures"):
        read_figures(path)
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="figures"):
        read_figures(path)
    path.write_text(json.dumps({"a": 1}))
    assert read_figures(path) == {"a": 1}
