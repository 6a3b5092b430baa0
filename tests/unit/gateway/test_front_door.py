"""What stands before Ray's own work on a request."""

from __future__ import annotations

import asyncio
import importlib

import pytest

from services.recommendations.gateway.app import create_app
from services.recommendations.gateway.edge import front_door
from services.recommendations.gateway.edge.deadlines import ArrivalMiddleware, deadline_of
from services.recommendations.gateway.edge.front_door import FrontDoor, middlewares, stand_before_ray
from services.recommendations.gateway.readiness import Startup
from streamrec.serving.concurrency_limit import LimitSettings
from streamrec.serving.load_control import LoadControl
from streamrec.serving.loop_lag import LoopLag

ASKED = {"type": "http", "method": "POST", "path": "/v1/recommendations"}


@pytest.fixture(autouse=True)
def nobody_stands_there(monkeypatch):
    monkeypatch.setattr(front_door, "_of_this_process", [])


class Behind:
    """What Ray listens with."""

    def __init__(self):
        self.scopes = []

    async def __call__(self, scope, _receive, send):
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})


def statuses(app, *scopes):
    sent = []

    async def send(message):
        sent.append(message.get("status"))

    async def run():
        for scope in scopes:
            await app(scope, None, send)

    asyncio.run(run())
    return [status for status in sent if status]


def an_application(places):
    load = LoadControl(limit=LimitSettings(1.0, 1.0, 1.0))
    if places == 0:
        load.admission.take()

    async def never(_metrics):
        raise AssertionError("nothing is composed here")

    return create_app(Startup(never), load=load, stand_before=stand_before_ray)


def test_ray_is_told_the_name_of_what_makes_it():
    module, _, name = front_door.IMPORT_PATH.partition(":")
    assert getattr(importlib.import_module(module), name) is middlewares
    (middleware,) = middlewares()
    assert middleware.cls is FrontDoor


def test_without_an_application_everything_passes():
    assert statuses(FrontDoor(Behind()), ASKED) == [200]


def test_an_application_without_room_refuses_before_ray_hears_of_it():
    behind = Behind()
    door = FrontDoor(behind)
    before = statuses(door, ASKED)
    an_application(places=0)
    assert (before, statuses(door, ASKED, {**ASKED, "path": "/healthz"})) == ([200], [503, 200])
    assert [scope["path"] for scope in behind.scopes] == ["/v1/recommendations", "/healthz"]


def test_the_arrival_that_was_noted_first_counts():
    behind = Behind()
    inner = ArrivalMiddleware(behind, LoopLag(), clock=lambda: 70.0)
    outer = ArrivalMiddleware(inner, LoopLag(), clock=lambda: 50.0)
    statuses(outer, ASKED)
    assert deadline_of(behind.scopes[0], 100.0, clock=lambda: 50.02).elapsed_ms() == pytest.approx(20.0)


def test_a_request_that_finds_room_comes_with_its_arrival():
    behind = Behind()
    an_application(places=1)
    assert statuses(FrontDoor(behind), ASKED) == [200]
    assert deadline_of(behind.scopes[0], 100.0).elapsed_ms() >= 0.0
