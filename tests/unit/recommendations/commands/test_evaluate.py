from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.recommendations.jobs import evaluation as evaluation_job
from streamrec.command_line import composition


def interval(value):
    return {"value": value, "low": value / 2, "high": 2 * value}


REPORT = {
    "models": {"ease": {name: interval(0.1) for name in ("hit@10", "ndcg@10", "recall@500")}},
    "breakdowns": {"creator_language": {}, "history_length": {}},
    "protocol": {},
    "comparisons": {},
    "cold_start": None,
    "reranking": None,
    "student": None,
    "index": None,
    "learning_curves": {},
}


def bar(name, figure):
    met = None if figure is None else figure >= 0.4
    return {
        "name": name,
        "group": "retrieval",
        "requirement": "at least 0.4",
        "figure": figure,
        "interval": None,
        "met": met,
        "note": "",
        "applies": True,
    }


@pytest.fixture
def asked(monkeypatch, tmp_path):
    calls, bars = [], [bar("recall", 0.5)]

    def evaluate_models(*_, models, seed, **__):
        calls.append((models, seed))
        return SimpleNamespace(to_json=lambda: {**REPORT, "bars": bars})

    monkeypatch.chdir(tmp_path)
    data = SimpleNamespace(folder="data", interactions=())
    monkeypatch.setattr(composition, "load_data_folder", lambda _folder: data)
    monkeypatch.setattr(composition, "with_items_of_log", lambda _workspace, dataset: dataset)
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: None)
    monkeypatch.setattr(evaluation_job, "evaluate_models", evaluate_models)
    return SimpleNamespace(calls=calls, bars=bars)


def run(*arguments, status=0):
    result = CliRunner().invoke(app, ["recommendations", "evaluate", "--data", "data", *arguments])
    assert result.exit_code == status, result.output
    return result.stdout


def test_the_table_is_printed_and_nothing_is_written_unasked(asked, tmp_path):
    assert "0.1000 (0.0500-0.2000)" in run("--models", "ease, popularity", "--seed", "4")
    assert asked.calls == [(["ease", "popularity"], 4)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("asked")
def test_plots_lie_beside_the_json_unless_a_folder_is_named(tmp_path):
    text = run("--json", "out/figures.json")
    written = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert written.items() >= REPORT.items()
    assert (written["schema"], written["verdict"], written["reasons"]) == (
        "streamrec.evaluation.v1",
        "passed",
        [],
    )
    assert (tmp_path / "out" / "figures-plots" / "ranking_metrics.png").is_file()
    assert "Plots in out/figures-plots: 1" in text
    run("--plots", "elsewhere")
    assert (tmp_path / "elsewhere" / "ranking_metrics.png").is_file()


@pytest.mark.parametrize(
    ("figures", "status", "line"),
    [
        ([0.5], 0, "passed"),
        ([0.3, 0.5], 3, "failed: bar 0: 0.3 where the bar is at least 0.4"),
        ([0.5, None], 4, "inconclusive: bar 1 was not measured"),
        ([], 4, "inconclusive: no bar is for what was evaluated here"),
    ],
)
def test_the_last_line_and_the_exit_status_are_the_verdict(asked, tmp_path, figures, status, line):
    asked.bars[:] = [bar(f"bar {place}", figure) for place, figure in enumerate(figures)]
    text = run("--json", "figures.json", status=status)
    assert text.splitlines()[-1] == line
    assert (tmp_path / "figures-plots" / "ranking_metrics.png").is_file()
    assert json.loads((tmp_path / "figures.json").read_text())["bars"] == asked.bars


@pytest.mark.usefixtures("asked")
def test_figures_of_another_command_are_refused_in_one_line(tmp_path):
    (tmp_path / "sweep.json").write_text(
        '{"schema": "streamrec.index_tuning.v1", "verdict": "passed", "reasons": []}'
    )
    result = CliRunner().invoke(
        app, ["recommendations", "evaluate", "--data", "data", "--closed-loop", "sweep.json"]
    )
    assert result.exit_code == 2
    assert result.stderr == "error: sweep.json, schema: must be 'streamrec.closed_loop.v1'\n"
