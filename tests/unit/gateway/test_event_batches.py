"""A verdict on every event of a batch, whatever stands beside it."""

from __future__ import annotations

import asyncio
import json

import pytest

from services.recommendations.gateway.schemas import (
    MAXIMUM_BATCH,
    MAXIMUM_BATCH_BYTES,
    EventAnswer,
)
from streamrec.contracts.conventions import MAXIMUM_ID_CHARACTERS
from streamrec.contracts.errors import DependencyError
from tests.unit.gateway.service import Service, event, problem

JSON = {"content-type": "application/json"}


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def send(service, content):
    return service.call(("POST", "/v1/events", {"content": content, "headers": JSON}))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (event(kind="stare"), "kind"),
        (event(event_id=""), "event_id"),
        (event(event_id=7), "event_id"),
        (event(occurred_at="yesterday"), "occurred_at"),
        (event(value="3"), "value"),
        (event(value=1e300), "value"),
        (event(value=10**4000), "value"),
        (event(extra=1), "extra"),
        (event(user_id="a\x00"), "user_id"),
        (event(user_id="u" * (MAXIMUM_ID_CHARACTERS + 1)), "user_id"),
        (event(item_id="\ud800"), "event"),
        ({}, "event_id"),
        (7, "event"),
        (None, "event"),
        ("text", "event"),
        ([event()], "event"),
        (event(value={"deep": [[[[{}]]]]}), "value"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_one_bad_event_refuses_only_itself(service, store, wrong, field):
    after = event(event_id="after", item_id="item-21")
    batch = [event(event_id="before"), wrong, after]
    answer = send(service, json.dumps({"events": batch})).json()
    EventAnswer.model_validate_json(json.dumps(answer))
    assert answer["verdicts"] == ["accepted", "quarantined", "accepted"]
    (kept,) = answer["quarantined"]
    assert (kept["index"], kept["reason"]) == (1, "malformed")
    assert kept["detail"].startswith(f"{field}: ")
    assert store.users["known"].history[-2:] == ("item-20", "item-21")
    snapshot = service.log.snapshot()
    assert {outcome.event_id for outcome in snapshot.outcomes} == {"before", "after"}
    assert [aside.reason for aside in snapshot.quarantined] == ["malformed"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_an_event_value_that_is_not_finite_refuses_only_its_event(service, literal):
    batch = [event(event_id="good"), event(value=0.125)]
    answer = send(service, json.dumps({"events": batch}).replace("0.125", literal)).json()
    assert answer["verdicts"] == ["accepted", "quarantined"]
    assert answer["quarantined"][0]["detail"].startswith("value: ")


def test_an_event_with_a_field_twice_refuses_only_itself(service):
    twice = json.dumps(event(event_id="twice"))[:-1] + ', "user_id": "other"}'
    answer = send(service, f'{{"events": [{twice}, {json.dumps(event())}]}}').json()
    assert answer["verdicts"] == ["quarantined", "accepted"]
    assert answer["quarantined"][0]["detail"] == "user_id: stands there twice"


def test_a_batch_with_its_events_twice_is_refused(service):
    one = json.dumps([event()])
    document = problem(send(service, f'{{"events": {one}, "events": {one}}}'))
    assert document["errors"][0]["field"] == "events"
    assert service.log.snapshot().outcomes == ()


def test_a_batch_of_bad_events_alone_is_acknowledged(service):
    answer = service.events(event(kind="stare"), event(value="3")).json()
    assert (answer["verdicts"], answer["accepted"]) == (["quarantined"] * 2, 0)


def test_nothing_is_kept_of_a_malformed_event_of_an_erased_user(service):
    service.erased.add("known")
    answer = service.events(event(kind="stare")).json()
    assert answer["quarantined"][0]["reason"] == "erased_user"
    assert service.log.snapshot().quarantined == ()


@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}"])
def test_as_many_events_as_are_allowed_fit_in_with_the_longest_ids(service, character):
    def longest(row):
        name = str(row)
        return name + character * (MAXIMUM_ID_CHARACTERS - len(name))

    batch = [
        event(event_id=longest(row), user_id=longest(row % 3), item_id=longest(0), request_id=longest(row))
        for row in range(MAXIMUM_BATCH)
    ]
    content = json.dumps({"events": batch}, indent=2)
    assert len(content) <= MAXIMUM_BATCH_BYTES
    assert send(service, content).json()["verdicts"] == ["quarantined"] * MAXIMUM_BATCH  # unknown items


def test_a_larger_batch_is_refused_for_its_size(service):
    content = json.dumps({"events": [event()]}).encode()
    content += b" " * (MAXIMUM_BATCH_BYTES + 1 - len(content))
    assert problem(send(service, content), 413)["type"].endswith("body-too-large")


@pytest.mark.parametrize(
    "moment",
    [
        "2024-05-01T12:00:00Z",
        "2024-05-01T12:00Z",
        "2024-05-01T12:00:00.5Z",
        "2024-05-01T12:00:00.123456789Z",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T14:00:00+0200",
    ],
)
def test_times_are_iso_8601_with_an_offset(service, moment):
    assert service.events(event(occurred_at=moment)).json()["verdicts"] == ["accepted"]
    (outcome,) = service.log.snapshot().outcomes
    assert outcome.occurred_at.isoformat().startswith("2024-05-01T12:00:00")


@pytest.mark.parametrize(
    "moment",
    [
        "1714564800",
        "1714564800000",
        "1714564800.5",
        "-1",
        "+1714564800",
        "1e9",
        1714564800,
        1714564800.0,
        True,
        "2024-05-01",
        "2024-05-01T12:00:00",
        "2024-05-01 12:00:00Z",
        "2024-05-01_12:00:00Z",
        "2024-02-30T12:00:00Z",
        "2024-05-01T25:00:00Z",
        "2024-05-01T12:00:00+99:00",
        " 2024-05-01T12:00:00Z",
        "2024-05-01T12:00:00Z\n",
        "\u0662\u0660\u0662\u0664-05-01T12:00:00Z",
        "",
        None,
    ],
)
def test_nothing_else_is_guessed_to_be_a_time(service, moment):
    answer = service.events(event(occurred_at=moment)).json()
    assert answer["verdicts"] == ["quarantined"]
    assert answer["quarantined"][0]["detail"].startswith("occurred_at: ")


@pytest.mark.parametrize(
    "error", [RuntimeError("at /secret"), KeyError("row"), DependencyError("at /secret")]
)
def test_a_store_that_raises_anything_does_not_undo_what_is_on_disk(stages, store, error):
    service = Service(stages, store, drain_s=0.1)  # the end waits for a store that never takes them
    store.error = error
    assert service.events(event()).json()["verdicts"] == ["accepted"]
    assert len(service.log.snapshot().outcomes) == 1


def test_events_of_a_client_that_goes_away_are_taken_to_the_end(service, store):
    async def run():
        async with service.client() as client:
            accept, begun, go_on = service.startup.gateway.intake._append, asyncio.Event(), asyncio.Event()

            async def slow(records):
                begun.set()
                await go_on.wait()
                await accept(records)

            service.startup.gateway.intake._append = slow
            sending = asyncio.create_task(client.post("/v1/events", json={"events": [event()]}))
            await begun.wait()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            go_on.set()
            for _ in range(200):
                if "item-20" in store.users["known"].history:
                    return
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert "item-20" in store.users["known"].history
    assert len(service.log.snapshot().outcomes) == 1


@pytest.mark.parametrize(
    "error",
    [
        DependencyError("No space left on device: '/srv/var/events/2026-11-28.jsonl'"),
        OSError(28, "No space left on device", "/srv/var/events/2026-11-28.jsonl"),
        RuntimeError("/srv/var/events is closed"),
    ],
)
def test_a_full_disk_is_a_503_that_tells_no_path(service, error):
    async def full():
        async with service.client() as client:
            service.log.error = error
            return await client.post("/v1/events", json={"events": [event()]})

    response = asyncio.run(full())
    assert problem(response, 503)["type"].endswith("events-not-stored")
    assert response.headers["retry-after"] == "1"
    assert "/srv" not in response.text
    assert "space" not in response.text
