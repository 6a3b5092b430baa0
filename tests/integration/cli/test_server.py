from __future__ import annotations

import os
import subprocess
import sys
import time

import httpx
import pytest

from services.cli.demo.server import ServerProcess, free_port
from streamrec.contracts.errors import DependencyError

READY = """
import http.server, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


def server(tmp_path, script, port, **options):
    command = (sys.executable, "-c", script)
    return ServerProcess(command, f"http://127.0.0.1:{port}", tmp_path / "server.log", **options)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_server_is_ready_inside_and_gone_after(tmp_path):
    port = free_port()
    with server(tmp_path, READY.format(port=port, stubborn=False), port) as running:
        pid = running.pid
        assert httpx.get(f"{running.base_url}/readyz").status_code == 200
    assert not alive(pid)
    assert running.pid is None
    assert (tmp_path / "server.log").read_text() == "listening\n"


def test_an_error_inside_stops_the_server(tmp_path):
    port = free_port()
    running = server(tmp_path, READY.format(port=port, stubborn=False), port)
    pids = []

    def fail():
        with running:
            pids.append(running.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not alive(pids[0])


def test_a_server_that_does_not_listen_to_signals_is_killed(tmp_path, monkeypatch):
    port = free_port()
    monkeypatch.setattr(ServerProcess, "STOP_PATIENCE_S", 0.2)
    with server(tmp_path, READY.format(port=port, stubborn=True), port) as running:
        pid = running.pid
    assert not alive(pid)


def test_an_impatient_second_interrupt_still_leaves_nobody_behind(tmp_path, monkeypatch):
    port = free_port()
    running = server(tmp_path, READY.format(port=port, stubborn=True), port)
    running.__enter__()
    pid = running.pid
    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", lambda process, timeout=None: interrupted(process, timeout))

    def interrupted(process, timeout):
        if timeout is not None:
            raise KeyboardInterrupt
        return wait(process)

    with pytest.raises(KeyboardInterrupt):
        running.stop()
    assert not alive(pid)


def test_a_server_that_ends_says_why(tmp_path):
    script = "import sys; print('no champion of retrieval'); sys.exit(2)"
    with (
        pytest.raises(DependencyError, match=r"exit code 2 .* no champion of retrieval"),
        server(tmp_path, script, free_port()),
    ):
        pytest.fail("must not be entered")


def test_a_server_that_never_becomes_ready_is_stopped(tmp_path):
    running = server(tmp_path, "import time; time.sleep(60)", free_port(), ready_timeout_s=0.6)
    started = time.monotonic()
    with pytest.raises(DependencyError, match="not ready after"), running:
        pytest.fail("must not be entered")
    assert running.pid is None
    assert time.monotonic() - started < 20
