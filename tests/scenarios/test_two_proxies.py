"""Case 5 of what the platform must survive, with two proxies: on two nodes, as on a cluster."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from services.recommendations.contracts.stages import RANKING
from tests.failures.parts import kill_9, proxies, wait_until
from tests.failures.registry_cases import free_port
from tests.failures.services import breakable, redis_server, service, start_breakable
from tests.integration.serving.conftest import serve, trained

__all__ = ["breakable", "redis_server", "serve", "service", "start_breakable", "trained"]

BEFORE_S = 5.0
AFTER_S = 10.0
PATIENCE_S = 60.0
SECOND_NODE = "127.0.0.3"

pytestmark = [
    pytest.mark.ray,
    pytest.mark.redis,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module", autouse=True)
def no_proxy_before_the_second_node():
    """Where the environment names a proxy for all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", ",".join(filter(None, [os.environ.get("no_proxy"), SECOND_NODE])))
        yield


def raylet_of(running):
    """Command line and environment of the service's raylet."""
    [(pid, command)] = [one for one in running.session() if one[1].split(" ", 1)[0].endswith("/raylet")]
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    environment = dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)
    return command, environment


@pytest.fixture
def second_port(service):
    """The port of a second proxy, on a node that joins the service; a ranker moves there."""
    command, environment = raylet_of(service.running)
    address = re.search(r"--gcs-address=(\S+)", command)[1]
    port = free_port()
    node = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--address={address}"),
            *(f"--node-ip-address={SECOND_NODE}", "--num-cpus=1", "--disable-usage-stats"),
        ],
        env={**environment, "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(port, service), PATIENCE_S, "the second proxy answers")
        yield port
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def answers(port, service):
    """Whether the proxy of the second node answers; until a replica is there it has none."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        rankers = service.replicas(RANKING)
        if len(rankers) == 2:
            kill_9({max(rankers)})  # Ray Serve starts it again where there are fewer
            time.sleep(3.0)
        return False


def test_case_5_one_of_two_proxies(service, second_port):
    with service.load(other_port=second_port) as load:
        service.warm_up()
        time.sleep(BEFORE_S)
        killed_s = kill_9(proxies(service.running))
        time.sleep(AFTER_S)
        found = load.finish()
    print(f"\n  before: {found.between(0.0, killed_s).said()}\n  after: {found.between(killed_s).said()}")
    assert found.not_ok == []
