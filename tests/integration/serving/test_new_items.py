"""Items are put and removed while a real service answers."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime

import pytest

from streamrec.contracts.items import Item
from streamrec.events.reader import FileEventReader
from streamrec.items.item_log import FileItemLog

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

SERVICE_ARGUMENTS = ("--together",)
PATIENCE_S = 60.0
"""Not the bar, which is a second: this test may share its machine with anything."""


@pytest.fixture
def log(workspace):
    return FileItemLog(workspace.folder / "items")


def slate(client, user_id, k=20, **rest):
    response = client.post("/v1/recommendations", json={"user_id": user_id, "k": k, **rest})
    assert response.status_code == 200, response.text
    answer = response.json()
    return answer, [item["item_id"] for item in answer["items"]]


def until(condition):
    """Wait for the condition; return its value and how long it took."""
    started_s = time.monotonic()
    while time.monotonic() < started_s + PATIENCE_S:
        value = condition()
        if value:
            return value, time.monotonic() - started_s
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


def holding(answer, item_id):
    """The answer if it is whole and the item is in it."""
    return not answer[0]["degraded"] and item_id in answer[1] and answer


def click(client, user_id, item_id):
    event = {
        "event_id": uuid.uuid4().hex,
        "user_id": user_id,
        "item_id": item_id,
        "kind": "click",
        "occurred_at": datetime.now(UTC).isoformat(),
    }
    response = client.post("/v1/events", json={"events": [event]})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_new_item_is_recommended_to_whom_it_suits_and_a_removed_one_to_nobody(client, log, workspace):
    catalogue = workspace.dataset.catalogue
    _, before = slate(client, "user-00")
    model = catalogue.row_of[before[0]]
    # As like the user's best item as content can say.
    new = Item(
        "new-item",
        "Just published",
        catalogue.creator_ids[model],
        catalogue.creator_languages[model],
        catalogue.topics[model],
        datetime(2023, 1, 1, tzinfo=UTC),
    )
    assert click(client, "user-59", "new-item")["quarantined"][0]["reason"] == "unknown_item"
    revision = log.append([new])[0].revision
    # The models are tiny and trained for seconds: that it stands among the 36 unseen items of the user's
    # language, before those of other languages, is what they can say.
    (_, shown), seen_after_s = until(lambda: holding(slate(client, "user-00", k=36), "new-item"))
    languages = [catalogue.creator_languages[catalogue.row_of[i]] for i in shown if i != "new-item"]
    assert set(languages[: shown.index("new-item")]) == {new.creator_language}
    until(lambda: "new-item" in slate(client, "nobody", k=150, context={"language": "en"})[1])
    ready = client.get("/readyz").json()
    assert (ready["item_revision"], ready["catalogue_items"]) == (revision, 151)

    # The event on it counts now, once, and is in its user's history.
    def outcomes():
        snapshot = FileEventReader(workspace.folder / "events").snapshot()
        return [outcome for outcome in snapshot.outcomes if outcome.item_id == "new-item"]

    counted, _ = until(outcomes)
    assert [outcome.unit for outcome in counted] == ["user-59"]
    until(lambda: "new-item" not in slate(client, "user-59", k=150)[1])
    assert click(client, "user-58", "new-item")["accepted"] == 1

    removed = log.append(["new-item", before[0]])[-1].revision
    _, gone_after_s = until(lambda: client.get("/readyz").json()["item_revision"] == removed)
    for user_id in ("user-00", "user-01", "nobody"):
        for _ in range(5):
            assert {"new-item", before[0]}.isdisjoint(slate(client, user_id, k=150)[1])
    print(f"recommended {seen_after_s:.2f} s after it was put, gone {gone_after_s:.2f} s after its removal")


def test_impressions_say_which_items_were_known(client, workspace):
    answer, _ = slate(client, "user-02")

    def extension():
        snapshot = FileEventReader(workspace.folder / "events").snapshot()
        found = [shown for shown in snapshot.impressions if shown.request_id == answer["request_id"]]
        return found and found[0].extension

    extension, _ = until(extension)
    assert extension["item_revision"] == 3
    assert extension["stage_item_revisions"]["retrieval"] == 3
