"""Ray, started and stopped by one thread that nothing else waits on."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Final

from services.recommendations.serving.application import APPLICATION_NAME
from services.recommendations.serving.owned_processes import ProcessIdentity, descendants, kill_known
from services.recommendations.serving.reaper import Reaper
from streamrec.contracts.errors import DependencyError

_LOG = logging.getLogger(__name__)

_ORDERLY_STOP_S: Final = 6.0
"""For requests that are under way; whoever sends a signal waits no longer than ten seconds in all."""

_PROCESSES_STOP_S: Final = 7.0
_SERVICE_STOP_S: Final = 9.0
"""When others kill what is left: Ray may hang in a call that lets no thread of this process run."""

_STARTING_INTERVAL_S: Final = 1.0

_PROCESSES_INTERVAL_S: Final = 5.0
"""Replicas come and go with the load, each a process."""

_REASON_CHARACTERS: Final = 500


class RayThread:
    """Starts Ray and stops it, in one thread of its own.

    Whatever in Ray waits for ever, the main thread hears that it is to stop. One thread for both, because the
    processes that it starts are killed by the system when the thread that started them ends.
    """

    def __init__(self, start: Callable[[], None], reaper: Reaper) -> None:
        """Begin to start.

        Args:
            start: Starts Ray and the application.
            reaper: Told of every process that is seen below this one.
        """
        self._start = start
        self._reaper = reaper
        self._known: frozenset[ProcessIdentity] = frozenset()
        self._stop_asked = threading.Event()
        self.ready = threading.Event()
        self.started = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ray", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop in good order if that is a matter of seconds; then kill whatever is left."""
        self._reaper.expect_stop(_PROCESSES_STOP_S, _SERVICE_STOP_S)
        self._look_at_processes()
        # Serve's controller ends itself in the middle of its last call, which Ray reports as a failure. Held
        # back here and not by the other thread, which may never come to give the streams back.
        noise = io.StringIO()
        with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise):
            self._stop_asked.set()
            # It waits for processes that may be gone: a signal to the whole group reaches those first.
            self._thread.join(_ORDERLY_STOP_S)
            in_order = not self._thread.is_alive()
            kill_known(self._known)  # the reaper looks for others
        _LOG.debug("Ray, while it was stopped: %s", noise.getvalue())
        if not in_order:
            _LOG.warning("Ray did not stop within %.0f s and was killed", _ORDERLY_STOP_S)

    def _run(self) -> None:
        try:
            self._start()
            self.started.set()
            while not self._stop_asked.wait(_STARTING_INTERVAL_S):
                self._look_at_processes()
                self._look_for_problems()
                if self.ready.is_set():
                    break
            while not self._stop_asked.wait(_PROCESSES_INTERVAL_S):
                self._look_at_processes()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the start
            self.failure = error
        finally:
            self.started.set()
            self._stop_asked.wait()
            _stop_in_order()

    def _look_at_processes(self) -> None:
        new = descendants(besides=self._reaper.pid) - self._known
        self._known |= new
        self._reaper.tell(new)

    def _look_for_problems(self) -> None:
        problem = _deployment_problem()
        if problem is not None and self.failure is None:
            self.failure = DependencyError(f"the deployments could not be started: {problem}")


def end_at_once(status: int) -> None:
    """End this process with ``status`` as soon as it is through, without the libraries' own ends.

    Ray's would wait in vain where Ray was killed, and taking the interpreter apart takes seconds on a busy
    machine. The service itself has put away all that is to be kept by then.
    """
    # Runs before what the libraries have registered: the last one to be registered comes first.
    atexit.register(_end, status)


def _end(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _deployment_problem() -> str | None:
    """Why the deployments cannot be started; None while they may still be."""
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    application = serve.status().applications.get(APPLICATION_NAME)
    if application is None or application.status is not ApplicationStatus.DEPLOY_FAILED:
        return None
    reasons = "; ".join(
        f"{name}: {' '.join(deployment.message.split())[-_REASON_CHARACTERS:]}"
        for name, deployment in application.deployments.items()
        if deployment.message
    )
    return reasons or application.message


def _stop_in_order() -> None:
    if "ray" not in sys.modules:
        return
    import ray
    from ray import serve

    if not ray.is_initialized():
        return
    try:
        try:
            serve.shutdown()
        finally:
            ray.shutdown()
    except Exception:  # noqa: BLE001 - what does not stop by itself is killed
        _LOG.debug("Ray did not stop in order", exc_info=True)
