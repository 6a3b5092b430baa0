"""The environment of the service's processes: our settings, and nothing that steers them from outside."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from services.recommendations.gateway.edge import front_door
from services.recommendations.gateway.edge.bodies import BODY_TIMEOUT_S

FOLDER_VARIABLE: Final = "STREAMREC_SERVICE_FOLDER"
"""Names the folder of the start that a process belongs to."""

CHAMPION_OOM_SCORE: Final = 500
"""What replicas that serve add to their chance to be ended for want of memory, of 1,000."""

_TOKEN: Final = secrets.token_hex(32)
"""One a process: Ray reads it once, so a second start must use the same."""

_INSIDE: Final = ("localhost", "127.0.0.1", "127.0.0.2", "::1")
"""Hosts that no proxy stands before: replicas call each other there."""

_FOREIGN_PREFIXES: Final = ("RAY_", "SERVE_")
"""Settings that somebody made for another cluster."""


@contextlib.contextmanager
def service_environment(folder: Path, *, haproxy: bool) -> Iterator[None]:
    """Set the environment of all processes that are started during the body, and restore it afterwards.

    Args:
        folder: Belongs to this start alone. Its path in the environment tells the processes of this start
            from all others (`owned_processes`).
        haproxy: HAProxy and the throughput settings instead of Ray's own proxy.
    """
    values = _values(folder, haproxy=haproxy)
    foreign = {name for name in os.environ if name.startswith(_FOREIGN_PREFIXES)}
    before = {name: os.environ.get(name) for name in values.keys() | foreign}
    for name in foreign:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _values(folder: Path, *, haproxy: bool) -> dict[str, str]:
    """Ray reads these in every process that it starts, and when it is imported in this one."""
    values = {
        FOLDER_VARIABLE: str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # A proxy that died is replaced after three checks; one that hangs, after three times the time-out.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.25",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        # Ray takes the parent of a process that uses it for the end of its cluster. Without this, a service
        # whose parent is the first process of the system (as under systemd) is ended with status 1 in the
        # middle of its stop, as soon as it cannot reach Ray's processes. Those below get their true one.
        "RAY_RAYLET_PID": str(os.getpid()),
        # Ray's default, 15, lets replicas starve beside any other process.
        "RAY_worker_niceness": "0",
        # Where the machine runs out of memory, the system ends challengers first (`process_limits`).
        "RAY_worker_oom_score_adjustment": str(CHAMPION_OOM_SCORE),
        # One thread a replica: five of them share the cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **_without_proxies(os.environ),
    }
    if haproxy:
        # Two services on one machine must not share HAProxy's files and ports.
        values |= {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": front_door.IMPORT_PATH,
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            # With every gateway that comes or goes HAProxy starts anew, and the one before closes its idle
            # connections with the next answer on each; what it cuts off instead, a client sees as an error.
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "30",
            # A gateway that dies leaves its requests without an answer: they are sent once more, to another
            # one. Both kinds may be repeated: asking again changes nothing, and events have ids.
            "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
            "RAY_SERVE_HAPROXY_RETRIES": "2",
            # A gateway that hangs is found within two seconds, and its requests are not waited for.
            "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
            "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",
            "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(math.ceil(BODY_TIMEOUT_S) + 5),
            # Longer than the gateway waits for a whole body, so that it is the one who says so; Ray's own
            # default lets a client that sends nothing keep its connection for an hour.
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(math.ceil(BODY_TIMEOUT_S) + 5),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(_free_port()),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(_free_port()),
        }
    return values


def _without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """``no_proxy`` with this machine's addresses added: gRPC and HTTP libraries read it in either case."""
    values = {}
    for name in ("no_proxy", "NO_PROXY"):
        named = [host.strip() for host in environment.get(name, "").split(",") if host.strip()]
        values[name] = ",".join(dict.fromkeys((*named, *_INSIDE)))
    return values


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
