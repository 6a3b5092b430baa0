"""Requests and events as a client of the service sends them."""

from __future__ import annotations

import re
import time
import uuid
from datetime import UTC, datetime, timedelta

_OF_GATEWAY = re.compile(r',gateway="[^"]*"|(?<={)gateway="[^"]*",?')


PATIENCE_S = 30.0


def recommend(client, user_id, k=10, **rest):
    response = client.post("/v1/recommendations", json={"user_id": user_id, "k": k, **rest})
    assert response.status_code == 200, response.text
    return response.json()


def ids(answer):
    return tuple(item["item_id"] for item in answer["items"])


def click(client, user_id, item_id, **changes):
    event = {
        "event_id": uuid.uuid4().hex,
        "user_id": user_id,
        "item_id": item_id,
        "kind": "click",
        "occurred_at": "2024-06-01T12:00:00Z",
    } | changes
    response = client.post("/v1/events", json={"events": [event]})
    assert response.status_code == 200, response.text
    return response.json()


def undegraded(client, user_id, **rest):
    """An answer in full: one may be late on a busy machine, and after a burst less is done for seconds."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        answer = recommend(client, user_id, **rest)
        if not answer["degraded"]:
            return answer
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.05)
    raise AssertionError(f"every answer is degraded, the last one is {answer}")


def event(user_id, item_id, kind="play", *, in_s=0.0):
    """An event that happens so many seconds from now."""
    return {
        "event_id": uuid.uuid4().hex,
        "user_id": user_id,
        "item_id": item_id,
        "kind": kind,
        "occurred_at": (datetime.now(UTC) + timedelta(seconds=in_s)).isoformat(),
    }


def verdicts(client, *events):
    """What becomes of each."""
    response = client.post("/v1/events", json={"events": list(events)})
    assert response.status_code == 200, response.text
    return response.json()["verdicts"]


def metric(client, name):
    """One value of the metrics of the gateway that happens to answer; 0 where it has none."""
    lines = client.get("/metrics").text.splitlines()
    shown = (_OF_GATEWAY.sub("", line).replace("{}", "").rpartition(" ") for line in lines)
    found = [float(value) for label, _, value in shown if label == name]
    return found[0] if found else 0.0
