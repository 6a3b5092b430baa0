"""How a service starts without its models, how it ends, and what an acknowledged event survives."""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from streamrec.callers.callers_file import CallersFile
from streamrec.contracts.callers import CallerLimit
from streamrec.events.reader import FileEventReader
from streamrec.registry.mlflow_registry import MlflowModelRegistry
from tests.promoted import promote, register_again

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


def test_without_models_the_command_ends_at_once_and_says_why(workspace, serve):
    empty = type(workspace)(workspace.folder / "empty", workspace.dataset)
    empty.folder.mkdir()
    running = serve(empty)
    assert running.process.wait(120.0) != 0
    said = running.log.read_text()
    assert "recommendations.ranking" in said
    assert "streamrec recommendations train" in said
    assert running.session() == []


def test_whoever_has_a_token_is_let_in_and_ctrl_c_leaves_nothing_behind(workspace, serve, tmp_path):
    """One service for both, because it takes long to start."""
    callers = CallersFile(tmp_path / "callers.json")
    token = callers.add(
        "search",
        CallerLimit(requests_per_s=0.001, burst=2, maximum_in_flight=None),
        datetime.now(UTC),
        timedelta(days=1),
    )
    running = serve(workspace, "--together", "--callers", str(callers.path))
    running.wait_for("/readyz", 200)

    def ask(**headers):
        return httpx.post(f"{running.url}/v1/recommendations", json={"user_id": "u"}, headers=headers)

    refused = ask()
    assert refused.status_code == 401
    assert httpx.get(f"{running.url}/v1/nothing").content == refused.content
    allowed = {"authorization": f"Bearer {token.secret}"}
    # Each gateway counts by itself, and there may be two.
    statuses = [ask(**allowed).status_code for _ in range(6)]
    assert statuses[:2] == [200, 200]
    assert statuses[-1] == 429
    callers.revoke("search", None)
    deadline_s = time.monotonic() + 30.0
    while ask(**allowed).status_code != 401:
        assert time.monotonic() < deadline_s, "a token that was revoked is believed"
        time.sleep(0.2)

    # As a terminal does: to every process in the foreground, and once more from an impatient person.
    os.killpg(running.process.pid, signal.SIGINT)
    time.sleep(0.5)
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.is_gone_within(10.0), running.session()
    assert running.process.returncode == 0
    assert running.log.read_text().rstrip().endswith("stopped")


def test_sigterm_to_the_service_alone_is_heard_by_it_and_not_by_ray(workspace, serve):
    """Ray's own handler would write its stack and have the process aborted after three seconds."""
    running = serve(workspace)
    running.wait_for("/readyz", 200)
    os.kill(running.process.pid, signal.SIGTERM)
    assert running.is_gone_within(10.0), running.session()
    assert running.process.returncode == 0
    said = running.log.read_text()
    assert "SIGTERM" not in said
    assert said.rstrip().endswith("stopped")


def test_a_service_without_a_parent_stops_in_order_also_where_ray_hangs_and_is_killed(workspace, serve):
    """Ray's library takes that parent for the end of its cluster, and ends the process where it may."""
    running = serve(workspace, orphaned=True)
    running.wait_for("/readyz", 200)
    [raylet] = [pid for pid, command in running.session() if command.split()[0].endswith("/raylet")]
    [service] = [pid for pid, command in running.session() if "serve_process.py" in command]
    os.kill(raylet, signal.SIGSTOP)
    os.kill(service, signal.SIGTERM)
    assert running.is_gone_within(10.0), running.session()
    said = running.log.read_text()
    assert "was killed" in said
    assert said.rstrip().endswith("stopped")


def test_a_model_that_comes_late_is_served_and_an_acknowledged_event_survives_kill_9(
    workspace, serve, tmp_path
):
    """One service for both, because it takes long to start."""
    late = type(workspace)(tmp_path, workspace.dataset)
    shutil.copytree(workspace.folder / "features", late.folder / "features")
    source, target = MlflowModelRegistry(workspace.registry), MlflowModelRegistry(late.registry)
    first = [
        register_again(source, target, stage, tmp_path) for stage in ("retrieval", "cold_start", "reranking")
    ]
    promote(tmp_path, target, *first)
    running = serve(late, "--wait-for-models", "--together")
    deadline_s = time.monotonic() + 120.0
    detail = ""
    while "recommendations.ranking" not in detail and time.monotonic() < deadline_s:
        detail = running.wait_for("/readyz", 503).json()["detail"]
        time.sleep(0.1)
    assert "recommendations.ranking" in detail
    assert "recommendations.retrieval" not in detail
    asked = httpx.post(f"{running.url}/v1/recommendations", json={"user_id": "user-01"}, timeout=10.0)
    assert asked.status_code == 503
    assert asked.headers["content-type"] == "application/problem+json"

    promote(tmp_path, target, register_again(source, target, "ranking", tmp_path))
    running.wait_for("/readyz", 200)
    event = {
        "event_id": "the-last-one",
        "user_id": "user-01",
        "item_id": "item-149",
        "kind": "click",
        "occurred_at": "2024-06-01T12:00:00Z",
    }
    response = httpx.post(f"{running.url}/v1/events", json={"events": [event]}, timeout=10.0)
    assert response.json()["accepted"] == 1
    running.kill_everything()
    outcomes = FileEventReader(late.folder / "events").snapshot().outcomes
    assert [outcome.event_id for outcome in outcomes] == ["the-last-one"]


def test_a_stop_that_comes_while_it_starts_is_heard(workspace, serve):
    running = serve(workspace)
    time.sleep(3.0)
    os.killpg(running.process.pid, signal.SIGTERM)
    assert running.is_gone_within(10.0), running.session()
