from __future__ import annotations

import json

import httpx
import pytest

from services.cli.control_plane.client import ControlPlaneClient, events_of
from services.cli.control_plane.connection import connected
from streamrec.contracts.errors import (
    ArtifactError,
    ConflictError,
    DependencyError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    PermanentError,
    PermissionDeniedError,
)


def client_of(answer) -> ControlPlaneClient:
    http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://control")
    return ControlPlaneClient(http)


def problem(status: int, kind: str, **fields):
    document = {"type": f"urn:streamrec:problem:{kind}", "status": status, "detail": "why", **fields}
    return lambda _request: httpx.Response(status, json=document)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(401, "unauthenticated"), PermissionDeniedError),
        (problem(403, "permission-denied"), PermissionDeniedError),
        (problem(404, "not-found"), NotFoundError),
        (problem(409, "conflict"), ConflictError),
        (problem(409, "damaged"), ArtifactError),
        (problem(409, "refused"), PermanentError),
        (problem(422, "invalid-input"), InvalidInputError),
        (problem(503, "overloaded"), OverloadedError),
        (problem(503, "dependency"), DependencyError),
        (problem(500, "internal"), DependencyError),
        (lambda _request: httpx.Response(502, text="<html>"), DependencyError),
        (lambda _request: httpx.Response(200, json=[1]), DependencyError),
    ],
)
def test_a_problem_is_the_error_that_it_tells_of(answer, error):
    with pytest.raises(error) as found:
        client_of(answer).look("a")
    assert type(found.value) is error


def test_the_field_at_fault_is_named():
    fields = [{"field": "plan.steps.1.weight_bp", "problem": "must be more"}]
    with pytest.raises(InvalidInputError) as found:
        client_of(problem(422, "invalid-input", errors=fields)).start(["a@1"], "why")
    assert (found.value.field, found.value.problem) == ("plan.steps.1.weight_bp", "must be more")


def test_whoever_cannot_be_reached_is_named():
    def refused(_request):
        raise httpx.ConnectError("Connection refused")

    with pytest.raises(DependencyError, match=r"http://control does not answer .*streamrec up"):
        client_of(refused).ask("a", "abort", "why")


def test_names_are_one_part_of_the_path_whatever_they_hold():
    asked = []

    def answer(request):
        asked.append(request.url.raw_path)
        return httpx.Response(200, json={})

    client = client_of(answer)
    client.look("../../v1/slots")
    client.roll_back("a/b?c", "why")
    assert asked == [b"/v1/rollouts/..%2F..%2Fv1%2Fslots", b"/v1/slots/a%2Fb%3Fc/rollback"]


def test_pages_are_read_until_there_are_enough_or_no_more():
    def answer(request):
        after = int(request.url.params.get("after", 0))
        count = int(request.url.params["limit"])
        items = [{"rollout": str(number)} for number in range(after + 1, min(after + count, 250) + 1)]
        return httpx.Response(
            200, json={"items": items, "next": None if after + count >= 250 else str(after + count)}
        )

    client = client_of(answer)
    assert [len(client.rollouts(maximum)) for maximum in (1, 100, 101, 249, 250, 1_000)] == [
        1,
        100,
        101,
        249,
        250,
        250,
    ]


def test_events_are_read_with_their_kinds_and_comments_are_not():
    lines = [
        "event: look",
        'data: {"a": 1}',
        "",
        ": alive",
        "",
        "id: 7",
        "event: over",
        'data: {"b":',
        "data: 2}",
        "",
    ]
    assert list(events_of(iter(lines))) == [("look", {"a": 1}), ("over", {"b": 2})]
    text = "id: 3\nevent: transition\ndata: {}\n\n"
    asked = []

    def answer(request):
        asked.append(request.headers.get("last-event-id"))
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})

    assert list(client_of(answer).events("a", 2)) == [("transition", {})]
    assert asked == ["2"]
    with pytest.raises(NotFoundError):
        list(client_of(problem(404, "not-found")).events("a"))


@pytest.mark.parametrize(
    "api", ["control:8080", "ftp://control", "http://", "http://control:0", "http://[::1"]
)
def test_what_is_no_address_is_refused(api, tmp_path):
    with pytest.raises(InvalidInputError, match="is no address such as"), connected(api, tmp_path):
        pass


def test_the_token_says_who_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMREC_TOKEN", "a-token")
    with connected("http://control:8080/", tmp_path) as client:
        http = client._http
        assert http.headers["authorization"] == "Bearer a-token"
        assert str(http.base_url) == "http://control:8080"
    assert json.dumps(dict(http.headers)).count("a-token") == 1
