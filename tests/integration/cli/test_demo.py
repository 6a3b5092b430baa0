"""The main job, as a newcomer runs it: a real process that trains, serves and measures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

REQUESTS = 120


def demo_command(workspace: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "services.cli", "demo", "--workspace", str(workspace)),
        *("--users", "300", "--items", "1200", "--requests", str(REQUESTS), "--seed", "3"),
    ]


def processes_of(workspace: Path) -> list[str]:
    """Command lines of running processes that name the workspace."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(workspace) in line:
            found.append(line)
    return found


def run(workspace: Path) -> tuple[str, dict[str, object]]:
    done = subprocess.run(demo_command(workspace), capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout, json.loads((workspace / "demo" / "summary.json").read_text())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def first_run(workspace):
    return run(workspace)


def test_a_small_world_goes_from_data_to_a_report(first_run, workspace):
    output, summary = first_run
    assert list(summary["offline"]["models"]) == [
        "popularity", "itemknn", "ease", "markov", "two_tower", "ranker", "student", "pipeline",
    ]  # fmt: skip
    served = summary["served"]
    assert served["requests"] == REQUESTS
    assert served["errors"] == 0
    assert served["cold_start_share"] > 0.1
    assert 0 < served["p50_ms"] <= served["p95_ms"] <= served["p99_ms"]
    assert {"features", "ranking", "reranking"} <= set(summary["stages"])
    assert 0 < summary["exposure_gini"] < 1
    assert summary["events"]["accepted"] == summary["events"]["sent"] > 0
    # Every answer of the check and of the traffic is in the log, and every acknowledged event.
    before = summary["traffic"]["warm_up_requests"] + summary["served_equals_offline"]["users"]
    loop = summary["loop"]
    meanwhile = loop["new_item"]["requests"] + loop["promotion"]["requests"]
    assert summary["events"]["log"]["impressions"] == REQUESTS + before + meanwhile
    assert loop["new_item"]["recommended_after_s"] is not None
    assert loop["new_item"]["gone_after_s"] is not None
    assert loop["relearned"]["events_added"] > 0
    assert (loop["promotion"]["errors"], loop["promotion"]["mixed"]) == (0, 0)
    assert loop["promotion"]["in_force_after_s"] is not None
    assert summary["events"]["log"]["outcomes"] == summary["events"]["accepted"]
    assert summary["served_equals_offline"]["share"] == 1.0
    assert (workspace / "demo" / "report.html").stat().st_size > 100_000
    # Every version was judged; some dozens of users of an age band cannot show that a model is fair to them.
    deployed = {one["model"]: one for one in summary["deployments"]}
    retrieval = deployed["recommendations-retrieval@1"]["gates"]
    assert all(retrieval[gate] == "passed" for gate in ("artifact", "validation", "skew", "quality"))
    ranking = deployed["recommendations-ranking@1"]
    assert (ranking["standing"], ranking["gates"]["fairness"]) == ("blocked", "inconclusive")
    assert deployed["recommendations-retrieval@2"]["champion"] == "recommendations-retrieval@1"
    assert "recommendations-ranking@1 is blocked" in output
    assert "report.html" in output
    assert "\x1b" not in output
    assert processes_of(workspace) == []


def test_a_second_run_reuses_the_models_and_ctrl_c_stops_its_server(first_run, workspace):
    _, summary = first_run
    versions = {f"reusing {model['name']}@{model['version']}" for model in summary["models"]}
    seen: list[str] = []
    with subprocess.Popen(demo_command(workspace), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            seen.append(line)
            if line.startswith("Traffic"):
                break
        else:
            pytest.fail("the traffic never began: " + "".join(seen))
        assert all(any(version in line for line in seen) for version in versions)
        assert any(" serve " in line for line in processes_of(workspace))
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(120) == 130
    assert processes_of(workspace) == []
