"""A workspace trained without a home folder goes on where it was moved to: every stage, and a service.

`tests/integration/cli/test_home_folder.py` is the short form. Here every command is a process of its own.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from services.recommendations.contracts.rungs import Rung
from tests.integration.cli.commands import PROGRAM, environment_of, files_naming, run
from tests.integration.serving.asking import undegraded
from tests.integration.serving.conftest import write_data

PATIENCE_S = 180.0

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]


def test_a_workspace_trained_without_a_home_folder_serves_where_it_was_moved_to(tmp_path):
    before, after, home = tmp_path / "before", tmp_path / "after", tmp_path / "home"
    home.mkdir()
    (before / "data").mkdir(parents=True)
    write_data(before / "data" / "mine")
    trained = run(before, "/proc/none", "recommendations train all --effort quick")
    assert list((before / "library_caches" / "pytensor").rglob("*.so"))
    promotion = re.search("models deploy (.*) --reason", trained)
    assert promotion is not None
    broken = "--break-glass --reason test"
    first = f"models promote {promotion[1]} {broken}"
    run(before, "/proc/none", first, "recommendations train reranking --effort quick --seed 2")
    run(before, "/proc/none", f"features materialize --data {before}/data/mine")
    assert files_naming(before, before) == []

    before.rename(after)
    shutil.rmtree(after / "library_caches")
    shutil.rmtree(after / "registry" / "cache")
    again = run(after, str(home), "recommendations train all --effort quick")
    assert set(re.findall(r"(\S+@1)\b", promotion[0])) < set(
        re.findall(r"reusing (\S+)", again)
    )  # and the teacher
    assert "recommendations-reranking@1" in run(after, str(home), "models serving")
    run(after, str(home), "recommendations index tune --queries 40 --dry-run")
    run(after, str(home), "items put --id new-1")
    run(after, str(home), "data erase --user user-03")
    run(after, str(home), f"features materialize --data {after}/data/mine")

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            [sys.executable, str(PROGRAM), f"recommendations serve --port {port}"],
            env=environment_of(after, str(home)),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_ready(url):
            assert service.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline_s, log.read_text()[-3000:]
            time.sleep(0.2)
        with httpx.Client(base_url=url, timeout=10.0) as client:
            answer = undegraded(client, "user-05", k=5)
        assert len(answer["items"]) == 5
        assert answer["rung"] == Rung.RANKED
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60.0)
    assert list(home.iterdir()) == []
    assert not before.exists()
    assert files_naming(after, before) == []
    assert files_naming(after, after) == []


def is_ready(url: str) -> bool:
    """Whether the service says that it is."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5.0).status_code == 200
    except httpx.TransportError:
        return False
