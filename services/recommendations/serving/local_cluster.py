"""The graph on one machine: a local Ray, started, watched and stopped by this process.

Which ingress was measured (tests/benchmarks/benchmark_ingress.py) on two cores, three empty stages
behind a gateway, closed loop, p50 / p99 in ms:

    clients   Ray's defaults   throughput settings   those and HAProxy
    1         8.9 / 15         7.9 / 14              3.4 / 6
    2         16.8 / 28        11.4 / 17             5.0 / 7
    4         30 / 41          22 / 42               9.0 / 19

Hence HAProxy and the throughput settings. What listens for requests is bound to the loopback address;
HAProxy's statistics pages (read only) and Ray's own ports are bound to every interface, which cannot be
configured. Ray's are closed to strangers by a token that is made for each start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from services.recommendations.gateway.settings import GatewayParts
from services.recommendations.serving.application import (
    APPLICATION_NAME,
    GraphSettings,
    build_application,
)
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.ray_thread import RayThread, end_at_once
from services.recommendations.serving.reaper import reaper_of
from services.recommendations.serving.service_environment import service_environment
from services.recommendations.serving.stop_signals import StopSignals
from streamrec.contracts.errors import DependencyError, NotReadyError, StreamRecError
from streamrec.contracts.exit_statuses import ExitStatus, exit_status_of_error

_LOG = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The service is on this machine: a proxy of the environment has no part in it."""
_IMPORTED_BY_US: Final = threading.Event()
"""Set once Ray has been imported with our settings: it reads most of them once a process."""

_NODE_ID_BYTES: Final = 28

_LONGEST_TEMPORARY_BYTES: Final = min(
    107 - len("/streamrec-12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"),
    97 - len("/streamrec-12345678//metrics.sock") - 2 * _NODE_ID_BYTES,
)
"""A socket of Ray's may have 107 bytes, one of HAProxy's 97; those lie in a folder named by a node's id."""

_NOT_READY_TYPE: Final = "urn:streamrec:problem:not-ready"


@dataclass(frozen=True)
class LocalServeSettings:
    """One machine's service.

    Attributes:
        host: Where requests are taken; loopback only unless told otherwise.
        port: The same.
        graph: Stages and gateway.
        cpus: What Ray believes the machine has; None: what it has.
        object_store_bytes: Ray's shared memory. Answers are small and do not go through it.
        haproxy: HAProxy and the throughput settings instead of Ray's own proxy.
        ready_timeout_s: How long the service may take to become ready.
        wait_for_models: Start without models, catalogue or features, and say at ``/readyz`` what is missing
            until it is there. Otherwise that is an error: on one machine nobody else will bring it.
        build: Makes the application of graph, models and parts. Another one than the product's is for
            measuring what the machinery costs without it.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    graph: GraphSettings = field(default_factory=GraphSettings)
    cpus: int | None = None
    object_store_bytes: int = 96 * 1024 * 1024
    haproxy: bool = True
    ready_timeout_s: float = 120.0
    wait_for_models: bool = False
    build: Callable[[GraphSettings, ModelSource, GatewayParts], Any] = build_application

    @property
    def url(self) -> str:
        """Where the service answers."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class RunningService:
    """A service that is ready.

    Attributes:
        url: Where it answers.
        model_versions: Version by stage.
        catalogue_items: Items it can recommend.
        startup_s: Time it took to become ready.
    """

    url: str
    model_versions: Mapping[str, int]
    catalogue_items: int
    startup_s: float


@contextlib.contextmanager
def running_service(
    settings: LocalServeSettings, models: ModelSource, parts: GatewayParts
) -> Iterator[RunningService]:
    """Start the service, wait until it is ready, and stop it at the end.

    Raises:
        NotReadyError: A model, the catalogue or the features are missing; says which and what to do.
        DependencyError: The port is taken, or the service did not become ready in time.
    """
    with _running(settings, models, parts, threading.Event(), lambda: None) as service:
        assert service is not None  # noqa: S101 - nobody can set the event
        yield service


def serve_forever(
    settings: LocalServeSettings,
    models: ModelSource,
    parts: GatewayParts,
    on_ready: Callable[[RunningService], None],
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way and return. For the main thread.

    Raises:
        NotReadyError, DependencyError: As in `running_service`.
    """
    with StopSignals() as signals:
        status: int = ExitStatus.UNFORESEEN
        try:
            with _running(settings, models, parts, signals.asked, signals.listen) as service:
                if service is not None:
                    on_ready(service)
                while not signals.asked.wait(1.0):
                    pass
                _LOG.info("stopping")
            status = 0
        except StreamRecError as error:
            status = exit_status_of_error(error)
            raise
        finally:
            if "ray" in sys.modules:
                end_at_once(status)


@contextlib.contextmanager
def _running(
    settings: LocalServeSettings,
    models: ModelSource,
    parts: GatewayParts,
    stopping: threading.Event,
    listen: Callable[[], None],
) -> Iterator[RunningService | None]:
    """Yield the service, or None if it was to stop before it was ready.

    ``listen`` is called again and again until it is: Ray may have taken the signals.
    """
    started_s = time.monotonic()
    if not settings.wait_for_models:
        # Asked before Ray is started: who forgot to promote should hear so in a second, not in twenty.
        models.check()
    _check_port(settings.host, settings.port)
    folder = _own_folder()
    try:
        # The reaper is started in the environment of before: it is no process of the service.
        with reaper_of(folder) as reaper, service_environment(folder, haproxy=settings.haproxy):
            ray = RayThread(lambda: _start(settings, models, parts, folder), reaper)
            try:
                ready = _wait_until_ready(settings, ray, stopping, listen)
                if ready is None:
                    yield None
                else:
                    yield RunningService(
                        settings.url,
                        ready["model_versions"],
                        ready["catalogue_items"],
                        time.monotonic() - started_s,
                    )
            finally:
                ray.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(settings: LocalServeSettings, models: ModelSource, parts: GatewayParts, folder: Path) -> None:
    if "ray" in sys.modules and not _IMPORTED_BY_US.is_set():
        # It would start with a proxy and a token of its own, and then not understand itself.
        raise DependencyError("Ray was imported before its settings were made: serve from a fresh process")
    with warnings.catch_warnings():
        # Ray Serve's own settings use what pydantic will drop: nothing that a caller could mend.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
        import ray
        from ray import serve

    _IMPORTED_BY_US.set()
    # It warns that it cannot handle SIGTERM outside the main thread: `serve_forever` does.
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
    ray.init(
        # This machine's own, whatever the environment or an earlier start left behind.
        address="local",
        num_cpus=settings.cpus,
        include_dashboard=False,
        object_store_memory=settings.object_store_bytes,
        log_to_driver=False,
        logging_level=logging.WARNING,
        # Ray replaces 127.0.0.1 by an address that others can reach, but not the rest of the loopback.
        _node_ip_address="127.0.0.2" if sys.platform == "linux" else None,
        _temp_dir=str(folder / "ray"),
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        http_options={"host": settings.host, "port": settings.port},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    application = settings.build(settings.graph, models, parts)
    # Without waiting: a replica that cannot load its model yet is no reason to hang here.
    serve.run_many(
        [serve.RunTarget(application, name=APPLICATION_NAME, route_prefix="/")],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def _wait_until_ready(
    settings: LocalServeSettings,
    ray: RayThread,
    stopping: threading.Event,
    listen: Callable[[], None],
) -> dict[str, Any] | None:
    """Return what the service is ready with, or None if it is to stop."""
    deadline_s = math.inf if settings.wait_for_models else time.monotonic() + settings.ready_timeout_s
    missing = "Ray was not started"
    while time.monotonic() < deadline_s:
        if ray.failure is not None:
            raise ray.failure
        listen()
        if ray.started.is_set():
            status, document = _get_json(f"{settings.url}/readyz")
            if status == HTTPStatus.OK:
                ray.ready.set()
                return document
            missing = str(document.get("detail", "it did not answer"))
            if document.get("type") == _NOT_READY_TYPE and not settings.wait_for_models:
                raise NotReadyError(missing)
        if stopping.wait(_POLL_S):
            return None
    raise DependencyError(f"the service was not ready after {settings.ready_timeout_s:.0f} s: {missing}")


def _get_json(url: str) -> tuple[int, dict[str, Any]]:
    """Return status and document; status 0 where nothing sensible answers yet."""
    try:
        with _DIRECT.open(url, timeout=5.0) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        try:
            document = json.loads(error.read())
        except ValueError:
            document = {}
        return error.code, document if isinstance(document, dict) else {}
    except (OSError, ValueError):
        return 0, {}


def _own_folder() -> Path:
    """Make a folder of this start alone, where the names of its sockets fit into the system's limit.

    Raises:
        DependencyError: Every folder for temporary files has too long a name, or cannot be written.
    """
    usual = Path(tempfile.gettempdir())
    for place in (usual, Path("/tmp")):  # noqa: S108 - a folder of our own is made in it
        if len(os.fsencode(place)) <= _LONGEST_TEMPORARY_BYTES and os.access(place, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="streamrec-", dir=place))
    raise DependencyError(
        f"the folder for temporary files, {usual}, has a name of {len(os.fsencode(usual))} bytes: too long "
        f"for the sockets that the service makes in it, and /tmp cannot be written; name a folder of at most "
        f"{_LONGEST_TEMPORARY_BYTES} bytes in TMPDIR"
    )


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DependencyError(
                f"{host}:{port} cannot be used: {error.strerror}; choose another port"
            ) from error
