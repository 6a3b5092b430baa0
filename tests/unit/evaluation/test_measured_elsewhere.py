from __future__ import annotations

import json

import pytest

from services.recommendations.evaluation.closed_loop_arms import OLD, PIPELINE
from services.recommendations.evaluation.judgements import CLOSED_LOOP_SCHEMA, INDEX_TUNING_SCHEMA
from services.recommendations.evaluation.measured_elsewhere import (
    OLD_POLICY,
    SERVED_POLICY,
    read_figures,
    with_other_commands,
)
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import Reason, Result, Verdict


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


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[" * 9_999, "{", '{"a": NaN}', '{"a": 1}', '{"schema": "streamrec.closed_loop.v1", "a": 1}'],
)
def test_files_that_are_no_figures_are_named(tmp_path, text):
    path = tmp_path / "figures.json"
    with pytest.raises(InvalidInputError, match="figures"):
        read_figures(path, CLOSED_LOOP_SCHEMA)
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="figures"):
        read_figures(path, CLOSED_LOOP_SCHEMA)


@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.FAILED])
def test_figures_are_read_whatever_the_verdict_was_and_of_one_command_alone(tmp_path, verdict):
    path = tmp_path / "figures.json"
    result = Result(CLOSED_LOOP_SCHEMA, verdict, (Reason("found", "", "something"),), closed_loop(0.4))
    path.write_text(json.dumps(result.to_json()))
    assert read_figures(path, CLOSED_LOOP_SCHEMA) == closed_loop(0.4)
    with pytest.raises(InvalidInputError, match=r"schema: must be 'streamrec\.index_tuning\.v1'"):
        read_figures(path, INDEX_TUNING_SCHEMA)


def test_an_interval_that_is_none_is_named_by_its_path():
    figures = closed_loop(0.34)
    del figures[SERVED_POLICY]["summary"]["seven_day_churn"]["n"]
    with pytest.raises(InvalidInputError, match=r"^pipeline as served.summary.seven_day_churn.n: is missing"):
        with_other_commands({"bars": []}, closed_loop=figures)
