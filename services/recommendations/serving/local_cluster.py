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
import io
import json
import logging
import math
import os
import secrets
import shutil
import signal
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
from types import FrameType
from typing import Any, Final

from services.recommendations.gateway.edge.bodies import BODY_TIMEOUT_S
from services.recommendations.gateway.settings import GatewayParts
from services.recommendations.serving.application import (
    APPLICATION_NAME,
    GraphSettings,
    build_application,
    served_model_names,
)
from services.recommendations.serving.model_source import ModelSource, resolve_champions
from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.registry.mlflow_registry import RegistrySettings

_LOG = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_TOKEN: Final = secrets.token_hex(32)
"""One a process: Ray reads it once, so a second start must use the same."""

_IMPORTED_BY_US: Final = threading.Event()
"""Set once Ray has been imported with our settings: it reads most of them once a process."""

_REASON_CHARACTERS: Final = 500
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
    """

    host: str = "127.0.0.1"
    port: int = 8000
    graph: GraphSettings = field(default_factory=GraphSettings)
    cpus: int | None = None
    object_store_bytes: int = 96 * 1024 * 1024
    haproxy: bool = True
    ready_timeout_s: float = 120.0
    wait_for_models: bool = False

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
    settings: LocalServeSettings, registry: RegistrySettings, parts: GatewayParts
) -> Iterator[RunningService]:
    """Start the service, wait until it is ready, and stop it at the end.

    Raises:
        NotReadyError: A model, the catalogue or the features are missing; says which and what to do.
        DependencyError: The port is taken, or the service did not become ready in time.
    """
    with _running(settings, registry, parts, threading.Event()) as service:
        assert service is not None  # noqa: S101 - nobody can set the event
        yield service


def serve_forever(
    settings: LocalServeSettings,
    registry: RegistrySettings,
    parts: GatewayParts,
    on_ready: Callable[[RunningService], None],
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way and return. For the main thread.

    Raises:
        NotReadyError, DependencyError: As in `running_service`.
    """
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()  # a second Ctrl-C changes nothing: it must not leave processes behind

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _running(settings, registry, parts, stopping) as service:
            for number in before:
                signal.signal(number, stop)  # Ray sets a handler of its own
            if service is not None:
                on_ready(service)
            while not stopping.wait(1.0):
                pass
            _LOG.info("stopping")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _running(
    settings: LocalServeSettings,
    registry: RegistrySettings,
    parts: GatewayParts,
    stopping: threading.Event,
) -> Iterator[RunningService | None]:
    """Yield the service, or None if it was to stop before it was ready."""
    started_s = time.monotonic()
    if settings.wait_for_models:
        models = ModelSource(registry)
    else:
        # Asked before Ray is started: who forgot to train should hear so in a second, not in twenty.
        models = resolve_champions(registry, served_model_names())
    _check_port(settings.host, settings.port)
    folder = Path(tempfile.mkdtemp(prefix="streamrec-"))
    try:
        with _environment(_serve_environment(settings, folder)):
            try:
                _start(settings, models, parts, folder)
                ready = _wait_until_ready(settings, stopping)
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
                _stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve_environment(settings: LocalServeSettings, folder: Path) -> dict[str, str]:
    """Ray reads these in every process that it starts, and when it is imported in this one."""
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        # One thread a replica: five of them share the cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.haproxy:
        # Two services on one machine must not share HAProxy's files and ports.
        environment |= {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "2",
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
    return environment


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
    ray.init(
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
    application = build_application(settings.graph, models, parts)
    try:
        serve.run(application, name=APPLICATION_NAME, route_prefix="/")
    except RuntimeError as error:
        deployments = serve.status().applications[APPLICATION_NAME].deployments
        reasons = "; ".join(
            f"{name}: {' '.join(deployment.message.split())[-_REASON_CHARACTERS:]}"
            for name, deployment in deployments.items()
            if deployment.message
        )
        raise DependencyError(f"the deployments could not be started: {reasons or error}") from error


def _stop() -> None:
    if "ray" not in sys.modules:
        return
    import ray
    from ray import serve

    if not ray.is_initialized():
        return
    # Serve's controller ends itself in the middle of its last call, which Ray reports as a failure.
    noise = io.StringIO()
    try:
        with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise):
            try:
                serve.shutdown()
            finally:
                ray.shutdown()
    finally:
        _LOG.debug("Ray, while it was stopped: %s", noise.getvalue())


def _wait_until_ready(settings: LocalServeSettings, stopping: threading.Event) -> dict[str, Any] | None:
    """Return what the service is ready with, or None if it is to stop."""
    deadline_s = math.inf if settings.wait_for_models else time.monotonic() + settings.ready_timeout_s
    missing = "it did not answer"
    while time.monotonic() < deadline_s:
        status, document = _get_json(f"{settings.url}/readyz")
        if status == HTTPStatus.OK:
            return document
        missing = str(document.get("detail", missing))
        if document.get("type") == _NOT_READY_TYPE and not settings.wait_for_models:
            raise NotReadyError(missing)
        if stopping.wait(_POLL_S):
            return None
    raise DependencyError(f"the service was not ready after {settings.ready_timeout_s:.0f} s: {missing}")


def _get_json(url: str) -> tuple[int, dict[str, Any]]:
    """Return status and document; status 0 where nothing sensible answers yet."""
    try:
        with urllib.request.urlopen(url, timeout=5.0) as response:  # noqa: S310 - our own http address
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        try:
            document = json.loads(error.read())
        except ValueError:
            document = {}
        return error.code, document if isinstance(document, dict) else {}
    except (OSError, ValueError):
        return 0, {}


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DependencyError(
                f"{host}:{port} cannot be used: {error.strerror}; choose another port"
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
