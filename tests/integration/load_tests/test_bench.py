"""`streamrec recommendations bench` on a small world: real Redis, real processes, two seconds a load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from services.recommendations.commands.bench import bench
from services.recommendations.load_tests.running_system import running_system
from services.recommendations.load_tests.systems import System
from services.recommendations.load_tests.workspace import MADE_FILE, made_workspace
from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import DependencyError, OverloadedError
from streamrec.contracts.progress import SilentProgress
from streamrec.files.locks import only_holder

pytestmark = [pytest.mark.redis, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "platform"), str(REPOSITORY)])}
WORLD = WorldSettings(item_count=400, user_count=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def made(folder):
    unfinished = folder / WORLD.key / "data" / "made"
    unfinished.mkdir(parents=True)  # by a run that was cut off
    (unfinished / "items.parquet").write_bytes(b"half of it")
    return made_workspace(folder, WORLD, SilentProgress())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "cache" not in path.parts
    }


def test_the_workspace_is_made_once_in_place_of_one_that_was_cut_off(made, folder) -> None:
    again = made_workspace(folder, WORLD, SilentProgress())
    assert made.made_s > 0.0
    assert again.made_s == 0.0
    assert again.workspace == made.workspace
    assert json.loads((made.workspace.root / MADE_FILE).read_text())["settings"]["item_count"] == 400


def test_two_load_tests_at_once_are_refused(folder) -> None:
    with only_holder(folder / ".lock", "held"), pytest.raises(OverloadedError, match="measure each other"):
        bench(items=400, users=30, folder=folder)


def test_the_monolith_knows_an_event_and_the_kept_workspace_stays_as_it_is(made, tmp_path) -> None:
    user, before = WORLD.user_id(3), tree(made.workspace.root)
    with (
        running_system(System.MONOLITH, made, tmp_path / "log") as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}", timeout=10.0, trust_env=False) as client,
    ):
        answer = client.post("/v1/recommendations", json={"user_id": user, "k": 20}).json()
        shown = [item["item_id"] for item in answer["items"]]
        event = {
            "event_id": "e1",
            "user_id": user,
            "item_id": shown[0],
            "kind": "play",
            "occurred_at": datetime.now(UTC).isoformat(),
        }
        assert client.post("/v1/events", json={"events": [event]}).status_code == 200
        after = client.post("/v1/recommendations", json={"user_id": user, "k": 20}).json()
        assert {"features", "retrieval", "ranking", "reranking"} <= set(answer["stages_ms"])
        process = psutil.Process(running.pid)
    assert len(shown) == 20
    assert shown[0] not in {item["item_id"] for item in after["items"]}
    assert not process.is_running()
    assert tree(made.workspace.root) == before


def test_a_load_test_that_is_told_to_end_leaves_no_process(made, folder) -> None:
    bench = a_bench_that_takes_long(folder)
    system = wait_for_process(bench.pid, "load_tests.systems")
    generator = wait_for_process(bench.pid, "load_tests.generator")
    redis = wait_for_process(bench.pid, "redis-server")
    bench.terminate()
    assert bench.wait(60.0) != 0
    _, alive = psutil.wait_procs([system, generator, redis], timeout=20.0)
    assert alive == []
    assert [path.name for path in made.workspace.root.glob("run-*")] == []


@pytest.mark.usefixtures("made")
def test_a_load_test_that_is_killed_takes_its_system_with_it(folder) -> None:
    bench = a_bench_that_takes_long(folder)
    system = wait_for_process(bench.pid, "load_tests.systems")
    others = [wait_for_process(bench.pid, words) for words in ("load_tests.generator", "redis-server")]
    bench.kill()
    bench.wait(60.0)
    _, alive = psutil.wait_procs([system], timeout=60.0)
    for process in others:
        process.kill()
    assert alive == []


def a_bench_that_takes_long(folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "services.cli", "recommendations", "bench", "--items", "400", "--users", "30",
        "--rps", "5", "--duration-s", "100", "--systems", "monolith", "--folder", str(folder),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)


def wait_for_process(parent: int, words: str) -> psutil.Process:
    deadline_s = time.monotonic() + 120.0
    while time.monotonic() < deadline_s:
        for process in psutil.Process(parent).children(recursive=True):
            if words in _words_of(process):
                return process
        time.sleep(0.1)
    pytest.fail(f"{words} was not started")


def test_a_system_that_cannot_start_says_why(made, tmp_path) -> None:
    for part in ("features", "keys", "registry", "redis"):
        (tmp_path / part).symlink_to(made.workspace.root / part)
    (tmp_path / "traffic").mkdir()  # where nothing is promoted
    broken = replace(made, workspace=Workspace(tmp_path))
    with (
        pytest.raises(DependencyError, match=r"ended before it was ready(.|\n)*no version is promoted"),
        running_system(System.MONOLITH, broken, tmp_path / "log"),
    ):
        pytest.fail("it cannot have become ready")


@pytest.mark.ray
@pytest.mark.usefixtures("made")
def test_it_measures_systems_side_by_side_and_leaves_no_process(folder, tmp_path) -> None:
    command = [
        sys.executable, "-m", "services.cli", "recommendations", "bench",
        "--items", "400", "--users", "30", "--rps", "20", "--duration-s", "2", "--warm-up-s", "0.5",
        "--rounds", "1", "--systems", "streamrec_together,empty_graph",
        "--json", str(tmp_path / "bench.json"), "--folder", str(folder),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "bench.json").read_text())
    rows = {row["system"]: row for row in document["rows"]}
    assert list(rows) == ["streamrec_together", "empty_graph"]
    for row in rows.values():
        assert row["items"] == 400
        assert row["offered_rps"] == 20.0
        assert row["achieved_rps"] > 0.0
        assert 0.0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["p999_ms"]
        assert row["cpu_ms_per_request"] > 0.0
    assert {"features", "ranking", "streamrec_together.reranking"} <= set(document["stages"])
    assert document["machine"]["cpus"] >= 1
    results = folder / f"results-{WORLD.key}"
    assert {"cpu.png", "latency-20.png", "details.json"} <= {path.name for path in results.iterdir()}
    details = json.loads((results / "details.json").read_text())
    for system in ("streamrec_together", "empty_graph"):
        assert details["memory_mib"][system]["gateway"] > 0.0
        assert details["memory_mib"][system]["proxy"] > 0.0
    assert details["memory_mib"]["empty_graph"]["stages"] > 0.0
    deadline_s = time.monotonic() + 10.0
    while left := [process for process in psutil.process_iter() if str(folder) in _words_of(process)]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.2)


def _words_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
