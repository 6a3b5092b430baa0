"""Who may ask for what, and what every request passes."""

from __future__ import annotations

import asyncio
import re
import threading

import pytest

from services.control_plane.app import create_app
from services.control_plane.guards import MAXIMUM_BODY_BYTES
from streamrec.contracts.errors import DependencyError
from tests.integration.control_plane.conftest import client_of

CHANGES = {"post", "put", "patch", "delete"}
BODIES = {
    "/v1/rollouts": {"models": ["ranking@2"], "reason": "r"},
    "/v1/deployments": {"models": ["ranking@2"], "reason": "r"},
    "/v1/overrides/{model}": {"reason": "r", "days": 1.0},
}
PLACES = {"model": "ranking@2", "slot": "shop.ranking", "number": "1", "ask": "abort"}
OF_NO_SLOT = {
    "/v1/reviews/{model}/approve",
    "/v1/reviews/{model}/reject",
    "/v1/overrides/{model}",
    "/v1/overrides/{number}/end",
    "/v1/remediations/{number}/close",
}
"""Routes that no spoke has a right to, so that a foreign spoke is refused as every spoke is."""


def changing_routes(parts):
    document = create_app(parts, drives=False).openapi()
    return [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method in CHANGES
    ]


def test_every_changing_route_refuses_a_viewer_and_a_foreign_spoke(platform, parts, asked_by):
    platform.register("ranking")
    answer = asked_by("sam", "POST", "/v1/rollouts", json=BODIES["/v1/rollouts"])
    assert answer.status_code == 201, answer.text
    places = PLACES | {"name": answer.json()["rollout"]}
    routes = changing_routes(parts)
    assert len(routes) >= 11
    seq = platform.ledger.last().seq
    for method, path in routes:
        filled = re.sub(r"\{(\w+)\}", lambda found: places[found[1]], path)
        for who in ("viv", "fay"):
            refused = asked_by(who, method, filled, json=BODIES.get(path, {"reason": "r"}))
            assert refused.status_code == 403, (who, method, path, refused.text)
    assert platform.ledger.last().seq == seq


def test_every_route_but_health_asks_who_it_is(parts, tokens, api):
    document = create_app(parts, drives=False).openapi()
    for path, operations in document["paths"].items():
        filled = re.sub(r"\{(\w+)\}", lambda found: (PLACES | {"name": "x", "version": "1"})[found[1]], path)
        for method in operations:
            answer = api.request(method, filled, json=None if method == "get" else {"reason": "r"})
            if path in ("/healthz", "/readyz"):
                assert answer.status_code == 200
                continue
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert tokens["viv"] not in answer.text


def test_without_an_access_file_the_owner_of_the_workspace_asks(api):
    assert api.get("/v1/rollouts").json() == {"items": [], "next": None}


def test_a_change_with_a_key_is_made_once_also_after_a_restart(platform, parts, asked_by, tokens):
    second = platform.register("ranking")
    body = {"models": [str(second)], "reason": "r"}
    key = {"idempotency-key": "abc-1"}
    first = asked_by("sam", "POST", "/v1/rollouts", json=body, headers=key)
    again = asked_by("sam", "POST", "/v1/rollouts", json=body, headers=key)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(platform.controller.book.active()) == 1

    other = asked_by("sam", "POST", "/v1/rollouts", json=body | {"reason": "s"}, headers=key)
    assert other.status_code == 422
    assert "another request" in other.json()["detail"]
    # Somebody else's key is another one, and is refused for what it asks.
    assert asked_by("olga", "POST", "/v1/rollouts", json=body, headers=key).status_code == 409

    with client_of(parts) as restarted:
        headers = key | {"authorization": f"Bearer {tokens['sam']}"}
        assert restarted.post("/v1/rollouts", json=body, headers=headers).content == first.content


def test_a_change_that_came_to_nothing_may_be_tried_again_with_its_key(platform, asked_by, monkeypatch):
    second = platform.register("ranking")
    body, key = {"models": [str(second)], "reason": "r"}, {"idempotency-key": "abc-2"}
    with monkeypatch.context() as broken:

        def full(*_, **__):
            raise DependencyError("the disk is full")

        broken.setattr(platform.ledger, "append_all", full)
        failed = asked_by("sam", "POST", "/v1/rollouts", json=body, headers=key)
    assert failed.status_code == 503
    assert failed.headers["retry-after"] == "1"
    assert asked_by("sam", "POST", "/v1/rollouts", json=body, headers=key).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 129, "tab\there"])
def test_a_key_that_is_none_is_refused(asked_by, key):
    answer = asked_by("sam", "POST", "/v1/rollouts", json={}, headers={"idempotency-key": key})
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]


def test_bodies_are_bounded_and_what_is_no_json_is_named(asked_by):
    large = asked_by("sam", "POST", "/v1/rollouts", content=b"x" * (MAXIMUM_BODY_BYTES + 1))
    assert large.status_code == 413
    for content in (b"{", b"[" * 100_000, b"\xff", b"null", b'{"models": NaN}'):
        broken = asked_by(
            "sam", "POST", "/v1/rollouts", content=content, headers={"content-type": "application/json"}
        )
        assert broken.status_code in (400, 422), broken.text


def test_what_is_not_there_and_what_is_not_allowed_are_problem_documents(api):
    for method, path, status in (("GET", "/v1/nothing", 404), ("DELETE", "/v1/rollouts", 405)):
        answer = api.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_defect_is_said_and_shows_nothing(asked_by, parts, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret in /home/olga/x")

    monkeypatch.setattr(parts.controller.book, "list", broken)
    answer = asked_by("viv", "GET", "/v1/rollouts")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_rollouts_are_driven_while_the_application_runs(platform, parts, monkeypatch):
    looked = threading.Event()
    tick = platform.controller.tick

    def watched():
        report = tick()
        looked.set()
        return report

    monkeypatch.setattr(platform.controller, "tick", watched)

    async def run():
        app = create_app(parts)
        async with app.router.lifespan_context(app):
            assert await asyncio.to_thread(looked.wait, 10.0)

    asyncio.run(run())
    assert platform.new_controller().tick().leads, "another one may lead"


def test_who_has_no_role_is_refused_before_the_body_is_looked_at(parts, asked_by):
    document = create_app(parts, drives=False).openapi()
    changing = [
        (path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "get"
    ]
    assert len(changing) >= 15
    for path, operation in changing:
        assert operation["x-streamrec-roles"], path
        assert "viewer" not in operation["x-streamrec-roles"]
        filled = path.replace("{name}", "x").replace("{model}", "x").replace("{number}", "1")
        filled = filled.replace("{slot}", "x")
        answer = asked_by("viv", "POST", filled, json={"no": "such field"})
        assert (path, answer.status_code) == (path, 403)
