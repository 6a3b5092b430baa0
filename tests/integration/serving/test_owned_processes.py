from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest

from services.recommendations.serving import ray_thread, reaper
from services.recommendations.serving.owned_processes import (
    ProcessIdentity,
    descendants,
    kill_processes_of,
)
from services.recommendations.serving.ray_thread import RayThread
from services.recommendations.serving.reaper import Reaper
from services.recommendations.serving.service_environment import FOLDER_VARIABLE, service_environment

SLEEP = "import sys, time; print('there', flush=True); time.sleep(60)"


@pytest.fixture
def start():
    started = []

    def run(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", SLEEP, *arguments],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        process.stdout.readline()
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_a_start_left_behind_is_ended_and_nothing_else(start, tmp_path):
    ours, other = tmp_path / "ours", tmp_path / "other"
    by_environment = start(**{FOLDER_VARIABLE: str(ours)})
    by_command_line = start("-f", f"{ours}/haproxy.cfg")
    stranger = start(**{FOLDER_VARIABLE: str(other)})
    assert kill_processes_of(ours) == 2
    assert by_environment.poll() is not None
    assert by_command_line.poll() is not None
    assert stranger.poll() is None


def test_settings_for_other_clusters_and_proxies_do_not_reach_the_service(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org, localhost")
    with service_environment(tmp_path, haproxy=True):
        assert "RAY_ADDRESS" not in os.environ
        assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert os.environ["no_proxy"] == "example.org,localhost,127.0.0.1,127.0.0.2,::1"
        assert os.environ[FOLDER_VARIABLE] == str(tmp_path)
    assert os.environ["RAY_ADDRESS"] == "somewhere:6379"
    assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
    assert FOLDER_VARIABLE not in os.environ
    assert os.environ["no_proxy"] == "example.org, localhost"


def test_what_is_left_is_ended_also_where_the_service_itself_was_killed(start, tmp_path):
    folder = tmp_path / "service"
    folder.mkdir()
    ours, hidden = start(**{FOLDER_VARIABLE: str(folder)}), start()
    told = next(process for process in descendants() if process.pid == hidden.pid)
    program = (
        "import sys, time; from pathlib import Path; "
        "from services.recommendations.serving.reaper import reaper_of\n"
        "from services.recommendations.serving.owned_processes import ProcessIdentity\n"
        "with reaper_of(Path(sys.argv[1])) as reaper:\n"
        "    reaper.tell([ProcessIdentity(int(sys.argv[2]), float(sys.argv[3]))])\n"
        "    print('there', flush=True); time.sleep(60)"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(told.pid), repr(told.started_s)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    service.stdout.readline()
    service.kill()
    service.wait()
    service.stdout.close()
    ours.wait(10.0)
    hidden.wait(10.0)
    deadline_s = time.monotonic() + 10.0
    while folder.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not folder.exists()


def test_a_service_that_hangs_in_its_stop_is_ended_in_time(start, tmp_path):
    ours = start(**{FOLDER_VARIABLE: str(tmp_path / "service")})
    program = (
        "import os, signal; from pathlib import Path\n"
        "from services.recommendations.serving.reaper import reaper_of\n"
        "with reaper_of(Path(os.environ['OWN_FOLDER'])) as reaper:\n"
        "    reaper.expect_stop(processes_s=0.1, service_s=0.2)\n"
        "    signal.pause()"
    )
    service = subprocess.Popen(
        [sys.executable, "-c", program],
        # Not in its arguments: by those it would be a process of the start itself.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OWN_FOLDER": str(tmp_path / "service")},
    )
    try:
        assert ours.wait(30.0) == -signal.SIGKILL
        assert service.wait(30.0) == -signal.SIGKILL
    finally:
        service.kill()


def test_a_stop_in_time_has_no_limit_any_more(start):
    hidden = start()
    known = {process for process in descendants() if process.pid == hidden.pid}
    over = threading.Event()
    over.set()
    reaper._limit(over, known, 0, 0.0, 0.0)
    assert hidden.poll() is None
    over.clear()
    reaper._limit(over, known, 0, 0.0, 0.0)
    assert hidden.poll() is not None


def test_what_hides_its_environment_is_known_by_its_number_and_start(start, tmp_path):
    hidden, stranger = start(), start()
    known = {process for process in descendants() if process.pid == hidden.pid}
    assert kill_processes_of(tmp_path / "service", known) == 1
    assert hidden.poll() is not None
    assert stranger.poll() is None
    wrong = {replace(process, started_s=process.started_s - 1.0) for process in descendants()}
    assert kill_processes_of(tmp_path / "service", wrong) == 0


def test_what_is_known_is_ended_before_anything_is_looked_for(start, tmp_path, monkeypatch):
    known = {ProcessIdentity(os.getpid(), psutil.Process().create_time())}
    hidden = start()
    known |= {process for process in descendants() if process.pid == hidden.pid}
    monkeypatch.setattr(psutil, "process_iter", lambda: iter(()))
    assert kill_processes_of(tmp_path / "service", known) == 1, "and not this process itself"
    assert hidden.poll() is not None


def test_a_stop_leaves_the_reaper_to_its_work(start):
    def fail():
        raise OSError("no Ray here")

    standing_in, hidden = start(), start()
    RayThread(fail, Reaper(standing_in.pid, io.BytesIO())).stop()
    assert hidden.poll() is not None
    assert standing_in.poll() is None


def test_who_is_told_that_ray_had_to_be_killed_can_still_be_heard(start, monkeypatch, capsys):
    held = threading.Event()

    def hang():
        print("noise", flush=True)
        held.wait(30.0)

    monkeypatch.setattr(ray_thread, "_stop_in_order", hang)
    monkeypatch.setattr(ray_thread, "_ORDERLY_STOP_S", 0.05)
    standing_in = start()
    RayThread(lambda: None, Reaper(standing_in.pid, io.BytesIO())).stop()
    print("stopped")
    held.set()
    assert capsys.readouterr().out == "stopped\n"
