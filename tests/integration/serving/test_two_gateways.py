"""Two gateways behind one proxy: which of them answers makes no difference."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from streamrec.contracts.events import Impression
from streamrec.contracts.results import Verdict
from streamrec.erasure.erase import erase
from streamrec.erasure.erased_persons import ErasureFiles, record_erasure
from streamrec.erasure.event_log import EventLogData
from streamrec.erasure.online_features import OnlineFeaturesData
from streamrec.events.reader import FileEventReader
from streamrec.events.segments import read_segment, segments_folder
from tests.integration.serving.asking import click, ids, recommend

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

SERVICE_ARGUMENTS = ("--together", "--replicas", "gateway=2")


def users_by_gateway(workspace) -> list[set[str]]:
    """Whom each gateway has answered: every gateway writes segments of its own."""
    users: dict[str, set[str]] = {}
    for path in segments_folder(workspace.folder / "events").glob("*.*"):  # none before the first record
        with path.open("rb") as file:
            records = read_segment(file, sealed=path.suffix == ".sealed").records
        answered = {record.unit for record in records if isinstance(record, Impression)}
        users.setdefault(path.name.partition(".")[0], set()).update(answered)
    return [answered for answered in users.values() if answered]


@pytest.fixture
def both(client, workspace):
    """Asks the service, once both gateways answer."""
    deadline_s = time.monotonic() + 120.0
    while len(users_by_gateway(workspace)) < 2:
        recommend(client, "nobody")
        assert time.monotonic() < deadline_s, "one gateway alone answers"
        time.sleep(0.05)
    return client


def test_what_is_acknowledged_is_known_to_both(both, workspace):
    now = datetime.now(UTC).isoformat()
    asked: set[str] = set()
    # How many of the requests each gateway gets is the proxy's affair.
    while min(len(asked & answered) for answered in users_by_gateway(workspace)) < 3:
        user = f"user-{len(asked):02d}"
        asked.add(user)
        clicked = []
        for _ in range(6):
            clicked.append(ids(recommend(both, user))[0])
            assert click(both, user, clicked[-1], occurred_at=now)["in_effect"]
            for _ in range(4):
                answer = recommend(both, user)
                assert "features" not in answer["skipped"]
                assert not set(clicked) & set(ids(answer))
        assert len(asked) < 50, "one gateway alone answers"


def test_an_event_that_is_sent_to_both_counts_once(both, workspace):
    sent = {"event_id": "sent-often", "occurred_at": datetime.now(UTC).isoformat()}
    answers = [click(both, "often", "item-004", **sent) for _ in range(20)]
    assert [answer["accepted"] for answer in answers] == [1] * 20
    # Each gateway takes it once; from then on it knows it.
    assert sum(answer["duplicates"] for answer in answers) >= 18
    outcomes = FileEventReader(workspace.folder / "events").snapshot().outcomes
    assert len([outcome for outcome in outcomes if outcome.unit == "often"]) == 1


def test_an_erased_person_is_nobody_at_both(both, workspace):
    files = ErasureFiles(
        workspace.folder / "erasures.json", workspace.folder / "secret", workspace.folder / "keys"
    )
    stores = [EventLogData(workspace.folder / "events"), OnlineFeaturesData(workspace.features)]
    for number in range(6):  # both hold events and a row of the person
        click(both, "gone", f"item-00{number}", occurred_at=datetime.now(UTC).isoformat())
        recommend(both, "gone")
    assert {store.name for store in stores if store.find("gone")} == {"event log", "online features"}

    erased = erase("gone", stores, lambda person: record_erasure(files, person))

    assert erased.verdict is Verdict.PASSED, erased.reasons
    for _ in range(10):
        late = click(both, "gone", "item-005", occurred_at=datetime.now(UTC).isoformat())
        assert [kept["reason"] for kept in late["quarantined"]] == ["erased_user"]
        assert recommend(both, "gone")["cold_start"]
    assert not any(store.find("gone") for store in stores)


def test_pages_show_nothing_twice_whichever_gateway_answers(both):
    for user in ("user-20", "user-21", "new"):
        shown, token = [], None
        for number in range(1, 11):
            asked = {} if token is None else {"page_token": token}
            page = recommend(both, user, k=12, **asked)
            assert page["page"] == number
            shown += ids(page)
            token = page["next_page_token"]
            if token is None:
                break
        assert len(shown) == len(set(shown)) >= 120
    refused = both.post("/v1/recommendations", json={"user_id": "user-22", "page_token": token or "x"})
    assert refused.status_code == 422
    assert "page_token" in refused.text


def test_metrics_say_whose_they_are(both):
    seen: set[str] = set()
    for _ in range(200):
        (name,) = set(re.findall(r'gateway="([^"]+)"', both.get("/metrics").text))
        seen.add(name)
        if len(seen) == 2:
            return
    raise AssertionError(f"{seen} alone answers")
