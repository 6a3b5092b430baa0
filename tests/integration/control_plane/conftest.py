"""A control plane over a small platform: everything but documents and kept answers is in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.control_plane.app import create_app
from services.control_plane.deployments import Deployments
from services.control_plane.in_process import ADDRESS, InProcessTransport
from services.control_plane.parts import ControlPlaneParts
from streamrec.access.staff_file import StaffFile
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.ledger_entry import ActorRole
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.metrics.catalogue import load_catalogue
from streamrec.metrics.computation import MetricSources
from tests.rolled_out import NOON, Platform

STAFF = {
    "viv": ((ActorRole.VIEWER,), ()),
    "sam": ((ActorRole.SPOKE,), ("shop.*",)),
    "fay": ((ActorRole.SPOKE,), ("other.*",)),
    "olga": ((ActorRole.PLATFORM,), ()),
    "rae": ((ActorRole.REVIEWER,), ()),
    "ria": ((ActorRole.RESPONSIBLE_AI,), ()),
}


@pytest.fixture
def platform(tmp_path):
    """A platform with one champion in shop.ranking."""
    made = Platform(tmp_path)
    made.writer.promote([made.register("ranking")], actor="ana")
    made.replicas_of("ranking")
    made.now = NOON + timedelta(minutes=5)
    made.follow()
    return made


@pytest.fixture
def judged():
    """What the gates say: a list of functions of (actor, versions, progress), taken one after the other."""
    return []


@pytest.fixture
def parts(platform, tmp_path, judged):
    def judge(by, refs, progress):
        return judged.pop(0)(by, refs, progress)

    return ControlPlaneParts(
        workspace=Workspace(tmp_path),
        controller=platform.controller,
        desk=platform.desk,
        registry=platform.registry,
        ledger=platform.ledger,
        staff=StaffFile(tmp_path / "access.json"),
        traffic=lambda: platform.traffic,
        catalogue=lambda: load_catalogue([]),
        metrics=lambda: MetricSources(MemoryEventLog()),
        deployments=Deployments(judge),
        clock=lambda: platform.now,
    )


@pytest.fixture
def tokens(parts):
    """Tokens of the staff, by name."""
    now = datetime.now(UTC)
    # The first one has to have the role platform: else nobody could add the others.
    return {
        name: parts.staff.add(name, roles, slots, now, timedelta(days=1)).secret
        for name, (roles, slots) in sorted(STAFF.items(), key=lambda one: one[0] != "olga")
    }


def client_of(parts):
    """A client of an application that has just begun."""
    transport = InProcessTransport(create_app(parts, drives=False))
    return httpx.Client(transport=transport, base_url=ADDRESS)


@pytest.fixture
def api(parts):
    """A client that nobody is known by: the owner of the workspace, until there is an access file."""
    with client_of(parts) as client:
        yield client
    parts.close()


@pytest.fixture
def asked_by(api, tokens):
    """Asks in somebody's name."""

    def ask(name, method, path, **options):
        headers = {"authorization": f"Bearer {tokens[name]}"} | options.pop("headers", {})
        return api.request(method, path, headers=headers, **options)

    return ask
