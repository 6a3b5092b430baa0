"""What a user may expect of a service on the demo's workspace, each sentence asserted over HTTP.

The workspace is one that `streamrec demo` has left, where the environment names its folder
(``STREAMREC_DEMO_WORKSPACE``; it is copied, and stays as it is); else one that this test makes from a small
world. `tests/integration/serving/test_running_service.py` holds a short form of some of it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from services.recommendations.contracts.stages import COLD_START, RANKING
from streamrec.datasets.dataset import load_dataset
from tests.integration.serving.asking import event, ids, recommend, undegraded, verdicts
from tests.integration.serving.conftest import ServeProcess, Workspace, serve, trained, workspace

__all__ = ["serve", "trained", "workspace"]

NEW_USERS = 250
SLOW_CONNECTIONS = 80
GET_ROUTES = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def demo_workspace(request, tmp_path_factory) -> Workspace:
    """A copy of the demo's workspace, or a small one."""
    named = os.environ.get("STREAMREC_DEMO_WORKSPACE")
    if named is None:
        small: Workspace = request.getfixturevalue("workspace")
        return small
    folder = tmp_path_factory.mktemp("demo") / "workspace"
    shutil.copytree(Path(named), folder)
    return Workspace(folder, load_dataset(folder / "data" / "imported"))


@pytest.fixture(scope="module")
def service(demo_workspace, serve) -> ServeProcess:
    running = serve(demo_workspace)
    running.wait_for("/readyz", 200)
    return running


@pytest.fixture
def client(service):
    with httpx.Client(base_url=service.url, timeout=10.0) as client:
        yield client


@pytest.fixture
def user_id():
    return f"user-of-this-test-{uuid.uuid4().hex}"


@pytest.fixture
def item_ids(client, user_id):
    """Items that the service knows."""
    return ids(undegraded(client, f"{user_id}-before", k=100))


def test_new_users_of_one_batch_are_all_known_to_the_next_request(client, user_id, item_ids):
    played = {f"{user_id}-{row}": item_ids[row % len(item_ids)] for row in range(NEW_USERS)}
    batch = [event(user, item_id) for user, item_id in played.items()]
    assert verdicts(client, *batch) == ["accepted"] * NEW_USERS
    for user, item_id in played.items():
        # Whom nobody knows is answered by the cold start alone: who has a history is ranked.
        answer = undegraded(client, user, k=50)
        assert {COLD_START, RANKING} <= answer["model_versions"].keys(), user
        assert item_id not in ids(answer)


@pytest.mark.parametrize("kind", ["dislike", "Dislike", "DISLIKE"])
def test_disliked_items_never_come_back(client, user_id, kind):
    gone = set()
    for _ in range(5):
        slate = ids(recommend(client, user_id, k=10))
        assert len(slate) == 10
        assert not gone & set(slate)
        assert verdicts(client, *(event(user_id, item_id, kind) for item_id in slate)) == ["accepted"] * 10
        gone |= set(slate)
    assert not gone & set(ids(recommend(client, user_id, k=500)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()},
        {"kind": "no such kind"},
        {"item_id": "no such item"},
        {"occurred_at": "1795578220"},
    ],
    ids=["future", "kind", "item", "time"],
)
def test_a_corrected_event_is_applied_once(client, user_id, item_ids, wrong):
    right = event(user_id, item_ids[0], "dislike")
    assert verdicts(client, right | wrong) == ["quarantined"]
    assert verdicts(client, right | wrong) == ["quarantined"]
    assert item_ids[0] in ids(recommend(client, user_id, k=500))
    assert verdicts(client, right) == ["accepted"]
    assert item_ids[0] not in ids(recommend(client, user_id, k=500))
    assert verdicts(client, right) == ["duplicate"]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize(
    "bad",
    [None, 1, [], {}, {"kind": "no such kind"}, {"occurred_at": "20261125"}, {"more": 1}, {"user_id": ""}],
    ids=str,
)
def test_one_bad_event_refuses_only_itself(client, user_id, item_ids, bad, place):
    batch = [event(user_id, item_ids[0], "dislike"), event(user_id, item_ids[1], "dislike")]
    broken = event(user_id, item_ids[2], "dislike") | bad if isinstance(bad, dict) and bad else bad
    expected = ["accepted", "accepted"]
    batch.insert(place, broken)
    expected.insert(place, "quarantined")
    assert verdicts(client, *batch) == expected
    slate = ids(recommend(client, user_id, k=500))
    assert not {item_ids[0], item_ids[1]} & set(slate)
    assert item_ids[2] in slate


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"POST /v1/events HTTP/1.1\r\nhost: s\r\ncontent-length: 999\r\n\r\n", b" "),
        (
            b"POST /v1/recommendations HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
        ),
        (b"GET /healthz HTTP/1.1\r\nname: ", b"x"),
    ],
    ids=["body", "chunks", "header"],
)
def test_slow_connections_leave_the_others_at_200(service, client, start, piece):
    address = httpx.URL(service.url)
    with ExitStack() as connections:
        slow = [
            connections.enter_context(socket.create_connection((address.host, address.port)))
            for _ in range(SLOW_CONNECTIONS)
        ]
        for connection in slow:
            connection.sendall(start.replace(b"\r\n\r\n", b"\r\ncontent-type: application/json\r\n\r\n"))
        for _ in range(8):  # less than a body may take: none of them is let go meanwhile
            for connection in slow:
                connection.sendall(piece)
            until_s = time.monotonic() + 1.0
            while time.monotonic() < until_s:
                assert recommend(client, "somebody", k=5)["items"]
                assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", GET_ROUTES)
def test_curl_head_works_on_every_get_route(service, client, path):
    assert set(client.get("/openapi.json").json()["paths"]) <= {
        *GET_ROUTES,
        "/v1/recommendations",
        "/v1/events",
    }
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    answered = subprocess.run(
        [curl, "--silent", "--head", "--max-time", "10", "--noproxy", "*", service.url + path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answered.stdout.startswith("HTTP/1.1 200"), answered.stdout
