from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from services.cli.demo.audience import Visit
from services.cli.demo.client import EventReceipt
from services.cli.demo.loop import ClosedLoop, NewItem, PromotedUnderTraffic, Relearned
from services.cli.demo.measurements import RequestRecord
from services.cli.demo.offline_check import Agreement
from services.cli.demo.phases import Phase
from services.cli.demo.report import render_report, write_report
from services.cli.demo.source import PreparedData, SourceKind
from services.cli.demo.summary import RunFacts, ServedTraffic, TrainedModel, build_summary
from services.cli.demo.traffic import Exchange, TrafficResult
from streamrec.contracts.intervals import Interval, IntervalMethod
from streamrec.contracts.models import ModelRef, ModelSignature
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.registry.model_registry import ModelVersion

SOME_INTERVAL = Interval(0.2, 0.1, 0.3, 0.95, IntervalMethod.BASIC_BOOTSTRAP, 7)

HOSTILE = "<script>alert('x')</script> & $\\frac{1}{0}$"


def interval(value):
    return {"value": value, "low": value / 2, "high": value * 1.5}


def metrics(value):
    return {"hit@10": interval(2 * value), "ndcg@10": interval(value), "recall@500": interval(5 * value)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    catalogue = Catalogue(
        item_ids=("a", "b", "c", "d"),
        titles=(HOSTILE, "Bee", "Sea", "Dee"),
        creator_ids=("x",) * 4,
        creator_languages=("English", "English", "French", HOSTILE),
        topics=(("<b>drama</b>",), (), ("comedy",), ()),
        published_at=np.full(4, "NaT", dtype="datetime64[s]"),
    )
    users = pd.DataFrame({"user_id": ["u", "v"]})
    dataset = Dataset(folder, catalogue, pd.DataFrame({"user_id": ["u"] * 7}), users)
    files = [{"name": "ratings.csv", "read": 9, "kept": 7, "quarantined": 2, "reasons": {"bad date": 2}}]
    return PreparedData(SourceKind.MOVIELENS, HOSTILE, "Real data.", dataset, files)


@pytest.fixture(scope="module")
def evaluation():
    names = ("popularity", "ease", "ranker", "pipeline")
    models = {name: metrics(0.0512 + 0.01 * rank) for rank, name in enumerate(names)}
    groups = {"20-49": {"count": 400, "metrics": metrics(0.07)}, "0-4": {"count": 3, "metrics": None}}
    return {
        "models": models,
        "breakdowns": {
            "creator_language": dict.fromkeys(names, groups),
            "history_length": dict.fromkeys(names, groups),
        },
        "comparisons": {"ranker - ease": {"ndcg@10": {"value": 0.0123, "low": 0.001, "high": 0.0234}}},
        "protocol": {"minimum_group_count": 30},
    }


def exchange(user, number, slate, *, known=True, latency_ms=20.0, failure="", accepted=0):
    record = RequestRecord(
        user_id=user,
        known_user=known,
        latency_ms=latency_ms,
        attempts=1,
        failure=failure,
        item_ids=slate,
        rung="ranked",
        cold_start=not known,
        stages_ms={"ranking": 7.0, "http": 2.0},
    )
    return Exchange(Visit(user, known, number, {}), record, EventReceipt(accepted, accepted, {}, 0))


@pytest.fixture(scope="module")
def served():
    exchanges = (
        exchange("u", 0, ("a", "b"), accepted=1),
        exchange("u", 1, ("c", "b"), latency_ms=40.0),
        exchange("v", 0, ("a", "c"), latency_ms=150.0),
        exchange("new", 0, ("c", "d"), known=False),
        exchange("v", 1, (), failure="status 503"),
    )
    return ServedTraffic(
        agreement=Agreement(users=3, compared=2, identical=1, overlap=0.75),
        traffic=TrafficResult(exchanges, clients=2, wall_s=2.0),
        warm_up_requests=20,
        behaviour="Users do things.",
        held_out={"u": "b", "v": "d"},
        histories={"u": ("d", "a")},
        relevance_order={"u": ("a", "b"), "v": ("a", "b")},
        log={"impressions": 6, "outcomes": 1, "quarantined": 0},
        loop=ClosedLoop(
            NewItem(0.25, None, 12),
            Relearned(1234, SOME_INTERVAL, SOME_INTERVAL, SOME_INTERVAL, ()),
            PromotedUnderTraffic(321, 0, 0, 0.75),
        ),
    )


@pytest.fixture(scope="module")
def run():
    return RunFacts(
        command="streamrec demo",
        seed=1,
        k=2,
        finished_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        phases=(Phase("Data", 1.25), Phase("Train", 61.5)),
        total_s=123.4,
    )


@pytest.fixture(scope="module")
def models():
    version = ModelVersion(
        ref=ModelRef("recommendations-ranking", 3),
        artifact_digest="d" * 64,
        data_fingerprint="f" * 64,
        settings_fingerprint="s" * 64,
        metrics={"ndcg@10": 0.0621, "not measured": float("nan")},
        parameters={},
        depends_on={},
        signature=ModelSignature((), ()),
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        aliases=frozenset({"champion"}),
    )
    return [TrainedModel("ranking", version, reused=True, seconds=0.4)]


@pytest.fixture(scope="module")
def summary(run, data, models, evaluation, served):
    return build_summary(run, data, models, evaluation, served)


@pytest.fixture(scope="module")
def page(summary):
    return render_report(summary)


def test_the_summary_has_the_agreed_keys_and_is_strict_json(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert {"requests", "errors", "degraded_share", "cold_start_share", "p50_ms", "p95_ms", "p99_ms"} <= set(
        summary["served"]
    )
    assert set(summary["stages"]["ranking"]) >= {"p50_ms", "p95_ms", "p99_ms"}
    assert summary["offline"]["models"]["ranker"]["ndcg@10"]["value"] == pytest.approx(0.0712)
    assert isinstance(summary["exposure_gini"], float)


def test_the_arithmetic_of_a_small_run(summary):
    assert (summary["served"]["requests"], summary["served"]["errors"]) == (5, 1)
    assert summary["served"]["cold_start_share"] == 0.25
    assert summary["served_hit_at_10"]["value"] == 0.5  # u got b, v did not get d
    assert summary["served_equals_offline"] == {
        "share": 0.5,
        "users": 3,
        "compared": 2,
        "identical": 1,
        "overlap": 0.75,
        "cut_off": 0,
    }
    assert summary["traffic"]["requests_per_second"] == 2.5
    assert summary["traffic"]["known_users_acted_share"] == pytest.approx(1 / 3, abs=1e-6)
    assert summary["events"]["accepted"] == 1
    shares = {row["language"]: row for row in summary["exposure"]["languages"]}
    assert shares["English"]["served_share"] == pytest.approx(4 / 8)
    assert shares["English"]["relevance_order_share"] == 1.0
    assert shares["English"]["same_users_served_share"] == pytest.approx(3 / 4)
    assert shares["French"]["catalogue_share"] == pytest.approx(1 / 4)
    assert summary["exposure"]["same_users"] == 2
    # English 4, French 3, the third 1, of 8: sum of |differences| over pairs is 1 + 3 + 2.
    assert summary["exposure_gini"] == pytest.approx(2 * 6 / (2 * 3 * 8))
    assert summary["models"][0]["metrics"] == {"ndcg@10": 0.0621}
    assert [sample["user_id"] for sample in summary["samples"]] == ["u", "new"]
    assert summary["samples"][0]["history"] == [HOSTILE, "Dee"]  # newest first


def test_the_report_shows_the_figures(page):
    for figure in ("0.0712", "0.0123", "30.0 ms", "7.0 ms", "2.5 requests", "recommendations-ranking@3"):
        assert figure in page, figure
    for text in ("reused", "bad date: 2", "1 min 2 s", "failed: status 503", "50 %", "Users do things."):
        assert text in page, text
    assert page.count("data:image/png;base64,") == 6


def test_the_report_escapes_what_comes_from_data(page):
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>drama</b>" not in page


def test_the_report_works_offline_and_holds_no_nan(page):
    text = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)
    assert not re.search(r"\b(NaN|nan|inf|None|undefined)\b", text)
    assert not re.search(r"src=|href=|https?://|@import|url\(", text)


def test_a_run_in_which_nothing_was_answered_has_a_report(run, data, models, evaluation, served):
    failed = tuple(
        replace(one, record=RequestRecord(one.visit.user_id, True, 5.0, 1, "ConnectError"))
        for one in served.traffic.exchanges
    )
    served = replace(
        served,
        agreement=Agreement(0, 0, 0, None),
        traffic=TrafficResult(failed, 2, 0.0),
        relevance_order={},
        histories={},
        held_out={},
    )
    summary = build_summary(run, data, models, {**evaluation, "comparisons": {}}, served)
    json.dumps(summary, allow_nan=False)
    assert summary["served"]["errors"] == 5
    assert summary["exposure_gini"] is None
    page = render_report(summary)
    assert "No request was answered." in page
    assert "failed: ConnectError" in page


@pytest.fixture(scope="module")
def sections():
    bar = {
        "group": "retrieval",
        "requirement": "at least 0.4",
        "figure": 0.5,
        "interval": {"value": 0.5, "low": 0.45, "high": 0.55},
        "applies": True,
    }
    unmeasured = {**bar, "met": None, "figure": None, "interval": None}
    slates = {
        "creator_language_gini": interval(0.48),
        "creator_gini": 0.911,
        "exposed_creators_share": 0.222,
        "ndcg@10": interval(0.1),
    }
    short = {
        "cases": 60,
        "ndcg@10": interval(0.05),
        "ndcg@10_popularity_per_segment": interval(0.04),
        "gain": interval(0.25),
    }
    return {
        "bars": [
            {**bar, "name": HOSTILE, "met": True, "note": ""},
            {**bar, "name": "student time", "met": False, "interval": None, "note": "slow machine"},
            {**unmeasured, "name": "coverage", "note": ""},
            {**unmeasured, "name": "index", "applies": False, "note": HOSTILE},
        ],
        "cold_start": {
            "overall": short,
            "by_history_length": {"0": short, "1": short},
            "coverage": [{"nominal": 0.9, "empirical": interval(0.9)}],
        },
        "reranking": {
            "users": 900,
            "before": slates,
            "after": slates,
            "ndcg@10_loss": interval(0.01),
            "latency": None,
            "frontier": {"ours": [{"weight": 1.0, "gini": 0.3, "ndcg@10": interval(0.1)}]},
            "advantages": [],
        },
        "learning_curves": {
            "ranker": [{"phase": "", "epoch": 1, "loss": 5.0, "validation_ndcg": 0.1, "seconds": 2.0}]
        },
    }


def test_the_report_shows_what_the_models_are_held_to(run, data, models, evaluation, served, sections):
    page = render_report(build_summary(run, data, models, {**evaluation, **sections}, served))
    assert page.count("data:image/png;base64,") == 6 + 4
    for text in (
        "What the models are held to",
        "student time",
        "slow machine",
        "0.4500",
        "not measured",
        "does not apply",
    ):
        assert text in page, text
    for figure in ("0.911", "22.2 %"):
        assert figure in page, figure
    assert "<script" not in page
    text = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)
    assert not re.search(r"\b(NaN|nan|inf|None|undefined)\b", text)


def test_parts_that_the_evaluation_lacks_are_left_out(page):
    assert "What the models are held to" not in page


def test_writing_replaces_the_report_in_one_step(summary, tmp_path):
    path = tmp_path / "demo" / "report.html"
    path.parent.mkdir()
    path.write_text("an older report")
    write_report(summary, path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
