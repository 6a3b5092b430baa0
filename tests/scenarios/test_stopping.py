"""SIGTERM to `serve` itself or to its whole process group: all of it is gone within ten seconds, every time.

Half of the stops come while both cores are busy with something else.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from tests.integration.serving.conftest import serve, trained, workspace

__all__ = ["serve", "trained", "workspace"]

STOPS = 20

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def busy() -> None:
    while True:
        sum(range(1_000_000))


@pytest.fixture
def load(request):
    """Two processes that never rest, where the test asks for them."""
    workers = [multiprocessing.Process(target=busy, daemon=True) for _ in range(2 if request.param else 0)]
    for worker in workers:
        worker.start()
    yield request.param
    for worker in workers:
        worker.kill()
        worker.join()


@pytest.mark.parametrize("number", range(STOPS // 2))
@pytest.mark.parametrize("load", [False, True], indirect=True, ids=["quiet", "busy"])
def test_everything_is_gone_within_ten_seconds(number, load, workspace, serve):
    running = serve(workspace)
    running.wait_for("/readyz", 200)
    send = os.killpg if number % 2 else os.kill
    sent_s = time.monotonic()
    send(running.process.pid, signal.SIGTERM)
    gone = running.is_gone_within(10.0)
    print(f"{send.__name__}, {'busy' if load else 'quiet'}: {time.monotonic() - sent_s:.2f} s")
    assert gone, (load, running.session())
    assert running.process.returncode == 0
    assert running.log.read_text().rstrip().endswith("stopped")
