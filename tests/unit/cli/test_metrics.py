from __future__ import annotations

import json
from datetime import timedelta
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.command_line import spoke_packages
from streamrec.command_line.composition import personal_data
from streamrec.command_line.spoke_packages import SPOKE_GROUP
from streamrec.command_line.workspace import Workspace
from streamrec.events.file_event_log import FileEventLog
from tests.made_events import NOON, an_impression, an_outcome


@pytest.fixture
def workspace(tmp_path):
    log = FileEventLog(tmp_path / "events")
    shown = [an_impression(number, unit=f"u{number % 120}") for number in range(240)]
    clicks = [an_outcome(number, unit=f"u{number % 120}") for number in range(0, 240, 3)]
    log.append([*shown, *clicks], durable=False)
    log.close()
    return tmp_path


@pytest.fixture
def run(workspace):
    def command(*arguments):
        return CliRunner().invoke(app, ["metrics", *arguments, "--workspace", str(workspace)])

    return command


DAY = ("--from", NOON.date().isoformat(), "--to", (NOON + timedelta(days=1)).date().isoformat())


def test_a_metric_is_computed_with_its_interval(workspace, run):
    out = workspace / "out.json"
    done = run("compute", "click_rate", *DAY, "--by", "slot,role", "--json", str(out))
    assert done.exit_code == 0, done.output
    assert "passed" in done.output
    content = json.loads(out.read_text())
    assert (content["schema"], content["verdict"]) == ("streamrec.metric_figures.v1", "passed")
    (figure,) = content["figures"]
    assert figure["dimensions"] == {"slot": "search.ranking", "role": "champion"}
    assert figure["estimate"]["value"] == pytest.approx(80 / 240)
    assert figure["estimate"]["low"] < 1 / 3 < figure["estimate"]["high"]
    assert (figure["units"], figure["cases"]) == (120, 240)


def test_below_the_minimum_sample_it_is_inconclusive_and_ends_with_4(run):
    done = run("compute", "latency_p99_ms", *DAY)
    assert done.exit_code == 4
    assert "fewer than the 400" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compute", "click_rat", *DAY), "did you mean 'click_rate'"),
        (("compute", "click_rate", *DAY, "--by", "sloth"), "did you mean 'slot'"),
        (("compute", "click_rate", "--from", "yesterday", "--to", "2026-03-02"), "is no time"),
        (("compute", "click_rate", "--from", "2026-03-02", "--to", "2026-03-02"), "after the start"),
        (("compute", "click_rate", *DAY, "--by", "segment"), "features materialize"),
    ],
)
def test_what_cannot_be_asked_ends_with_2_and_one_line(run, arguments, words):
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_the_list_shows_the_metrics_of_platform_spokes_and_workspace(workspace, run):
    (workspace / "metrics.yaml").write_text(
        "metrics:\n  mine: {owner: search, description: d, unit: x, direction: lower_is_better,"
        " aggregation: mean, of: {event: impression}, per: {event: impression}}\n"
    )
    out = workspace / "list.json"
    done = run("list", "--json", str(out))
    assert done.exit_code == 0, done.output
    assert "mine" in done.output
    assert {"mine", "click_rate", "degraded_rate"} <= set(json.loads(out.read_text())["metrics"])
    (workspace / "metrics.yaml").write_text("metrics:\n  mine: {owner: search}\n")
    refused = run("list")
    assert refused.exit_code == 2
    assert "metrics.mine.description" in refused.output


def test_a_spokes_file_is_found_in_the_packages_around_its_commands_without_importing_them(
    tmp_path, monkeypatch
):
    package = tmp_path / "far_away_spoke"
    (package / "commands").mkdir(parents=True)
    for folder in (package, package / "commands"):
        (folder / "__init__.py").write_text("raise RuntimeError\n")
    (package / "metrics.yaml").write_text("metrics: {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    declared = [
        EntryPoint("far", "far_away_spoke.commands.app:commands", SPOKE_GROUP),
        EntryPoint("gone", "no_such_package.app:commands", SPOKE_GROUP),
    ]
    monkeypatch.setattr(spoke_packages, "entry_points", lambda **_: declared)
    assert spoke_packages.spoke_files("metrics.yaml") == [package / "metrics.yaml"]
    (package / "commands" / "metrics.yaml").write_text("metrics: {}\n")
    assert spoke_packages.spoke_files("metrics.yaml") == [package / "commands" / "metrics.yaml"]


def test_erasing_a_person_reaches_what_metrics_keep(workspace, run):
    run("compute", "click_rate", *DAY)
    files = next(
        store for store in personal_data(Workspace(workspace)) if store.name == "files of the workspace"
    )
    assert files.find("u7")
    files.remove("u7")
    assert not files.find("u7")


def test_a_model_that_names_a_metric_which_nobody_defined_is_refused_by_the_path(tmp_path):
    model = {
        "name": "ads-clicks",
        "owner": "ads",
        "slot": "ads.clicks",
        "task": "classification",
        "predictor": "services.ads.click_predictor:load",
        "evaluation": {"requests": "evaluation.parquet"},
        "no_sensitive_attributes": "nobody is told apart here",
        "outcome_metric": "click_rat",
    }
    (tmp_path / "model.yaml").write_text(json.dumps(model))
    done = CliRunner().invoke(app, ["models", "check", str(tmp_path), "--workspace", str(tmp_path)])
    assert done.exit_code == 2
    assert "outcome_metric: there is no metric 'click_rat', did you mean 'click_rate'" in done.output
