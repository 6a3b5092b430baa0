from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from services.cli.main import app
from services.recommendations.commands.closed_loop_table import closed_loop_table
from services.recommendations.evaluation.closed_loop_arms import BEST_KNOWN, OLD, PIPELINE, run_arms
from services.recommendations.evaluation.closed_loop_policy import PolicyModels
from services.recommendations.jobs import closed_loop as closed_loop_job
from services.recommendations.jobs.training import TrainingSettings
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.results import Verdict
from streamrec.datasets.dataset import load_dataset

SETTINGS = WorldSettings(users=40, items=300, seed=205)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    generate_world(SETTINGS, folder, SilentProgress())
    return folder


def test_the_table_has_a_row_for_each_arm_and_dashes_for_what_was_not_run(models, folder):
    results = run_arms(
        SETTINGS,
        load_dataset(folder),
        PolicyModels.of(models),
        40,
        SilentProgress(),
        names=[OLD, PIPELINE, BEST_KNOWN],
        pipeline=PipelineSettings(candidate_count=40),
    )
    text = io.StringIO()
    Console(file=text, width=250).print(closed_loop_table(results, seed=205, new_users=40))
    lines = text.getvalue().splitlines()
    assert "seed 205" in lines[0]
    (old,) = (line for line in lines if OLD in line and "seven-day" not in line)
    assert old.split()[-1] == f"{results[OLD].summary.language_exposure_gini:.3f}"
    assert " - " in old
    assert f"{results[PIPELINE].summary.seven_day_churn.value:.1%}" in text.getvalue()


def test_the_command_runs_the_arms_that_are_asked_for_and_writes_them(models, folder, tmp_path, monkeypatch):
    """All but the training, which takes minutes."""
    asked = {}

    def measured(world, dataset, _registry, _work_folder, *, users, names, seed, progress, settings):
        asked.update(world=world, seed=seed, training=settings)
        small = PipelineSettings(candidate_count=40)
        return run_arms(world, dataset, PolicyModels.of(models), users, progress, names=names, pipeline=small)

    monkeypatch.setattr(closed_loop_job, "measure_closed_loop", measured)
    arguments = [
        "recommendations",
        "world",
        "closed-loop",
        "--data",
        str(folder),
        "--workspace",
        str(tmp_path / "workspace"),
    ]
    arguments += [
        "--new-users",
        "30",
        "--effort",
        "quick",
        "--arms",
        f"{OLD}, {PIPELINE}",
        "--json",
        str(tmp_path / "out.json"),
    ]
    result = CliRunner().invoke(app, arguments)
    written = json.loads((tmp_path / "out.json").read_text())
    assert result.exit_code == Verdict(written["verdict"]).exit_status, result.output
    assert result.stdout.splitlines()[-1].startswith(written["verdict"])
    assert asked["world"] == SETTINGS
    assert asked["training"] == TrainingSettings.quick()
    assert list(written) == ["schema", "verdict", "reasons", OLD, PIPELINE]
    assert written[PIPELINE]["summary"]["new_users"] == 30


def test_a_folder_that_holds_no_world_is_refused_in_one_line(tmp_path):
    result = CliRunner().invoke(app, ["recommendations", "world", "closed-loop", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "which world" in result.output
    assert "Traceback" not in result.output


def test_hand_over_of_a_folder_that_is_none_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["recommendations", "hand-over", "--data", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
