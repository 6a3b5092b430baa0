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
    "bars": [],
}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    calls = []

    def evaluate_models(*_, models, seed, **__):
        calls.append((models, seed))
        return SimpleNamespace(to_json=lambda: REPORT)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(composition, "load_data_folder", lambda _folder: None)
    monkeypatch.setattr(composition, "open_registry", lambda _workspace: None)
    monkeypatch.setattr(evaluation_job, "evaluate_models", evaluate_models)
    return calls


def run(*arguments):
    result = CliRunner().invoke(app, ["recommendations", "evaluate", "--data", "data", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_is_printed_and_nothing_is_written_unasked(asked, tmp_path):
    assert "0.1000 (0.0500-0.2000)" in run("--models", "ease, popularity", "--seed", "4")
    assert asked == [(["ease", "popularity"], 4)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("asked")
def test_plots_lie_beside_the_json_unless_a_folder_is_named(tmp_path):
    text = run("--json", "out/figures.json")
    assert json.loads((tmp_path / "out" / "figures.json").read_text()).items() >= REPORT.items()
    assert (tmp_path / "out" / "figures-plots" / "ranking_metrics.png").is_file()
    assert "Plots in out/figures-plots: 1" in text
    run("--plots", "elsewhere")
    assert (tmp_path / "elsewhere" / "ranking_metrics.png").is_file()
