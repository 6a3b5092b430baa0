"""The control plane's API as the commands use it: documents in, documents out, errors of the one tree."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from streamrec.contracts.errors import (
    ArtifactError,
    ConflictError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PermanentError,
    PermissionDeniedError,
    StreamRecError,
)

if TYPE_CHECKING:
    import httpx

PAGE: Final = 100
"""Rollouts that are asked for at once."""

_TYPE_PREFIX: Final = "urn:streamrec:problem:"
_PERMANENT: Final[Mapping[str, type[PermanentError]]] = {
    "unauthenticated": PermissionDeniedError,
    "permission-denied": PermissionDeniedError,
    "not-found": NotFoundError,
    "damaged": ArtifactError,
    "not-ready": NotReadyError,
}
_TEMPORARY: Final = {"conflict": ConflictError, "overloaded": OverloadedError}


class ControlPlaneClient:
    """Asks a control plane. What it answers are plain JSON documents."""

    def __init__(self, http: httpx.Client, drive: Callable[[], None] = lambda: None) -> None:
        """Nothing is asked yet.

        Args:
            http: Reaches the control plane; says who asks.
            drive: Lets the rollouts go on where nobody else drives them: the control plane of this process
                lives no longer than the command.
        """
        self._http = http
        self.drive = drive

    def rollouts(self, maximum: int) -> Sequence[Mapping[str, Any]]:
        """The states of rollouts, the one that moved last first.

        Args:
            maximum: So many at most.

        Raises:
            StreamRecError: See `_answer`; so do all the others.
        """
        found: list[Mapping[str, Any]] = []
        after: str | None = None
        while len(found) < maximum:
            asked: dict[str, str] = {"limit": str(min(PAGE, maximum - len(found)))}
            if after is not None:
                asked["after"] = after
            page = self._get("/v1/rollouts", asked)
            found += page["items"]
            after = page["next"]
            if after is None:
                break
        return found

    def look(self, name: str) -> Mapping[str, Any]:
        """``state``, ``evidence`` and ``analysis`` of one."""
        return self._get(f"/v1/rollouts/{_part(name)}")

    def history(self, name: str, after_seq: int = 0) -> Sequence[Mapping[str, Any]]:
        """The transitions of one beyond an entry of the ledger, oldest first."""
        items: Sequence[Mapping[str, Any]] = self._get(
            f"/v1/rollouts/{_part(name)}/history", {"after_seq": str(after_seq)}
        )["items"]
        return items

    def start(
        self,
        models: Sequence[str],
        reason: str,
        *,
        plan: Mapping[str, Any] | None = None,
        slot: str | None = None,
        without_canary: bool = False,
        break_glass: bool = False,
    ) -> Mapping[str, Any]:
        """Start a rollout; its state."""
        body = {
            "models": list(models),
            "reason": reason,
            "plan": plan,
            "slot": slot,
            "without_canary": without_canary,
            "break_glass": break_glass,
        }
        return self._post("/v1/rollouts", body)

    def ask(self, name: str, what: str, reason: str) -> Mapping[str, Any]:
        """Pause, resume, promote, abort or roll back one, or try it again; its state."""
        return self._post(f"/v1/rollouts/{_part(name)}/{what}", {"reason": reason})

    def roll_back(self, slot: str, reason: str) -> Mapping[str, Any]:
        """Take back what the last rollout of a slot did; the state of that rollout."""
        return self._post(f"/v1/slots/{_part(slot)}/rollback", {"reason": reason})

    def needs(self, slot: str, model: str | None) -> Mapping[str, Any]:
        """What the plan of a slot can decide with its traffic."""
        return self._get(f"/v1/slots/{_part(slot)}/needs", {} if model is None else {"model": model})

    def deploy(
        self,
        models: Sequence[str],
        reason: str,
        *,
        rollout: bool = True,
        plan: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Ask for versions; the deployment, whose gates run from now on.

        Args:
            models: Which.
            reason: Why.
            rollout: Whether to roll out what may serve then.
            plan: By which plan; that of the specifications where None.
        """
        body = {"models": list(models), "reason": reason, "rollout": rollout, "plan": plan}
        return self._post("/v1/deployments", body)

    def deployment(self, number: int) -> Mapping[str, Any]:
        """How a deployment goes."""
        return self._get(f"/v1/deployments/{number}")

    def events(self, name: str, last_seq: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Follow a rollout as the control plane tells it: kinds of events with their documents.

        Raises:
            StreamRecError: As `_answer`; or the connection is lost.
        """
        import httpx

        headers = {"accept": "text/event-stream"} | ({"last-event-id": str(last_seq)} if last_seq else {})
        path = f"/v1/rollouts/{_part(name)}/events"
        try:
            with self._http.stream("GET", path, headers=headers) as answer:
                if answer.status_code != HTTPStatus.OK:
                    answer.read()
                    _answer(answer)
                yield from events_of(answer.iter_lines())
        except httpx.TransportError as error:
            raise _unreachable(self._http, error) from error

    def _get(self, path: str, asked: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        return self._call("GET", path, params=dict(asked or {}))

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._call("POST", path, json=dict(body))

    def _call(self, method: str, path: str, **content: Any) -> Mapping[str, Any]:
        import httpx

        try:
            answer = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise _unreachable(self._http, error) from error
        return _answer(answer)


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Read server-sent events whose data is one JSON object: their kinds and documents."""
    kind, data = "message", ""
    for line in lines:
        if line.startswith("event:"):
            kind = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data += line.removeprefix("data:").strip()
        elif not line and data:
            yield kind, json.loads(data)
            kind, data = "message", ""


def _answer(answer: httpx.Response) -> Mapping[str, Any]:
    """The document of an answer.

    Raises:
        StreamRecError: It is a problem: as the control plane raised it, by its kind. Any other answer is a
            `DependencyError`.
    """
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DependencyError(
            f"{answer.url} answered {answer.status_code} without a document: is that a control plane?"
        )
    if answer.is_success:
        return document
    raise error_of(answer.status_code, document)


def error_of(status: int, problem: Mapping[str, Any]) -> StreamRecError:
    """The error that a problem document tells of."""
    kind = str(problem.get("type", "")).removeprefix(_TYPE_PREFIX)
    detail = str(problem.get("detail") or problem.get("title") or f"the control plane answered {status}")
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        fields = problem.get("errors") or []
        if fields:
            return InvalidInputError(str(fields[0]["field"]), str(fields[0]["problem"]))
        return InvalidInputError("request", detail)
    if kind in _PERMANENT:
        return _PERMANENT[kind](detail)
    if kind in _TEMPORARY:
        return _TEMPORARY[kind](detail)
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return PermanentError(detail)
    return DependencyError(detail)


def _unreachable(http: httpx.Client, error: Exception) -> DependencyError:
    return DependencyError(
        f"the control plane at {http.base_url} does not answer ({error}): is `streamrec up` running there? "
        "Without --api and STREAMREC_API the command works on the workspace itself"
    )


def _part(text: str) -> str:
    """A name as one part of a path, whatever it holds."""
    return quote(text, safe="")
