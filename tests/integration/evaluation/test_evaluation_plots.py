from __future__ import annotations

import io

import matplotlib.image
import pytest

from services.recommendations.evaluation.plots import (
    evaluation_figures,
    groups_by_model,
    png_bytes,
    save_plots,
)
from streamrec.contracts.errors import InvalidInputError


def interval(value):
    return {"value": value, "low": 0.8 * value, "high": 1.2 * value}


def metrics(value):
    return {"hit@10": interval(2 * value), "ndcg@10": interval(value), "recall@500": interval(5 * value)}


@pytest.fixture
def report():
    names = ("popularity", "ease", "two_tower", "ranker", "student", "pipeline")
    models = {name: metrics(0.05 + 0.01 * place) for place, name in enumerate(names)}
    groups = {
        "English": {"count": 400, "metrics": metrics(0.07)},
        "$\\frac{1}{0}$": {"count": 50, "metrics": None},
    }
    lengths = {
        str(length): {
            "cases": 50,
            "ndcg@10": interval(0.03 + 0.01 * length),
            "ndcg@10_popularity_per_segment": interval(0.03),
            "gain": None,
        }
        for length in range(6)
    }
    curve = [
        {"phase": phase, "epoch": epoch, "loss": 6.0 - epoch, "validation_ndcg": 0.05 * epoch, "seconds": 3.0}
        for phase in ("pools", "joint")
        for epoch in (1, 2, 3)
    ]
    points = [
        {
            "weight": weight,
            "gini": 0.48 - 0.1 * weight,
            "ndcg@10": interval(0.1 - 0.004 * weight),
        }
        for weight in (0.0, 0.5, 1.0, 2.0)
    ]
    return {
        "models": models,
        "breakdowns": {"creator_language": dict.fromkeys(names, groups)},
        "cold_start": {
            "by_history_length": lengths,
            "overall": lengths["3"],
            "coverage": [
                {"nominal": n, "empirical": {"value": n - 0.01, "low": n - 0.03, "high": n + 0.01}}
                for n in (0.5, 0.7, 0.9)
            ],
        },
        "reranking": {
            "before": {"ndcg@10": interval(0.1)},
            "frontier": {"ours": points, "greedy_mmr": points[:2]},
            "advantages": [],
        },
        "learning_curves": {"ranker": curve, "student": curve[:3]},
    }


ALL = {
    "ranking_metrics",
    "ndcg_by_creator_language",
    "cold_start",
    "calibration",
    "frontier",
    "learning_curve",
}


def test_everything_that_has_figures_is_drawn_and_readable(report, tmp_path):
    paths = save_plots(report, tmp_path / "new" / "plots")
    assert {path.stem for path in paths} == ALL
    for path in paths:
        picture = matplotlib.image.imread(path)
        height, width = picture.shape[:2]
        assert 300 < height < 3_000
        assert 600 < width < 3_000
        assert picture[..., :3].std() > 0.02  # not blank


def test_axes_and_titles_say_what_is_shown(report):
    figures = evaluation_figures(report)
    for name in ("cold_start", "calibration", "frontier"):
        (axes,) = figures[name].axes
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert len(axes.get_legend().get_texts()) >= 2
    validation, loss = figures["learning_curve"].axes
    assert [text.get_text() for text in validation.get_legend().get_texts()] == [
        "ranker pools",
        "ranker joint",
        "student pools",
    ]
    assert loss.get_xlabel() == "epoch"


def test_the_distance_to_greedy_mmr_stands_beside_the_frontier(report):
    assert len(evaluation_figures(report)["frontier"].axes) == 1
    report["reranking"]["advantages"] = [{"weight": 0.1, "gini": 0.4, "ndcg@10": interval(0.004)}]
    _, beside = evaluation_figures(report)["frontier"].axes
    assert "greedy MMR" in beside.get_title(loc="left")


def test_what_was_not_measured_is_not_drawn(report):
    assert evaluation_figures({"models": {}, "breakdowns": {}}) == {}
    report["reranking"]["frontier"] = {}
    report["cold_start"]["coverage"] = []
    report["learning_curves"] = {}
    assert set(evaluation_figures(report)) == ALL - {"frontier", "calibration", "learning_curve"}


def test_the_same_figures_give_the_same_bytes(report):
    first, second = (png_bytes(evaluation_figures(report)["frontier"]) for _ in range(2))
    assert first == second
    assert matplotlib.image.imread(io.BytesIO(first)).ndim == 3


def test_groups_without_figures_are_left_out_and_the_largest_count_is_shown():
    by_model = {
        "ease": {"en": {"count": 40, "metrics": metrics(0.1)}, "fi": {"count": 3, "metrics": None}},
        "ranker": {
            "en": {"count": 30, "metrics": metrics(0.2)},
            "fr": {"count": 35, "metrics": metrics(0.1)},
        },
    }
    groups = groups_by_model(by_model, "ndcg@10")
    assert list(groups) == ["en (n = 40)", "fr (n = 35)"]
    assert list(groups["en (n = 40)"]) == ["ease", "ranker"]
    assert len(groups_by_model(by_model, "ndcg@10", limit=1)) == 1


def test_a_folder_that_cannot_be_written_is_named(report, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InvalidInputError, match="taken"):
        save_plots(report, tmp_path / "taken")
