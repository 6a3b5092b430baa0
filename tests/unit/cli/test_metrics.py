from __future__ import annotations

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from services.cli.main import app
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
    assert "fewer than the 200" in done.output


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


def test_the_list_shows_the_platforms_metrics_and_the_workspaces_own(workspace, run):
    (workspace / "metrics.yaml").write_text(
        "metrics:\n  mine: {owner: search, description: d, unit: x, direction: lower_is_better,"
        " aggregation: mean, of: {event: impression}, per: {event: impression}}\n"
    )
    out = workspace / "list.json"
    done = run("list", "--json", str(out))
    assert done.exit_code == 0, done.output
    assert "mine" in done.output
    assert {"mine", "click_rate"} <= set(json.loads(out.read_text())["metrics"])
    (workspace / "metrics.yaml").write_text("metrics:\n  mine: {owner: search}\n")
    refused = run("list")
    assert refused.exit_code == 2
    assert "metrics.mine.description" in refused.output
