from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from streamrec.contracts.errors import DependencyError
from tests.unit.gateway.service import Service, event, problem


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def test_a_click_changes_the_next_answer(service):
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 3}})
    service.call(ask, ("POST", "/v1/events", {"json": {"events": [event(item_id="item-08")]}}), ask)
    before, taken, after = (response.json() for response in service.responses)
    assert "item-08" in [item["item_id"] for item in before["items"]]
    assert taken == {
        "verdicts": ["accepted"],
        "accepted": 1,
        "duplicates": 0,
        "quarantined": [],
        "in_effect": True,
    }
    assert "item-08" not in [item["item_id"] for item in after["items"]]


def test_a_skip_is_logged_and_changes_no_history(service, store):
    service.events(event(kind="skip"))
    assert len(service.log.snapshot().outcomes) == 1
    assert "item-20" not in store.users["known"].history


def test_new_users_move_to_retrieval_with_their_events(service):
    batch = [event(event_id=f"e{row}", user_id="fresh", item_id=f"item-{row:02d}") for row in range(5)]
    ask = ("POST", "/v1/recommendations", {"json": {"user_id": "fresh"}})
    service.call(ask, ("POST", "/v1/events", {"json": {"events": batch}}), ask)
    assert [service.responses[index].json()["cold_start"] for index in (0, 2)] == [True, False]


def test_the_same_event_twice_is_applied_once(service, store):
    send = ("POST", "/v1/events", {"json": {"events": [event(), event()]}})
    service.call(send, send)
    first, second = (response.json() for response in service.responses)
    assert (first["accepted"], first["duplicates"]) == (2, 1)
    assert (second["accepted"], second["duplicates"]) == (2, 2)
    assert store.users["known"].history.count("item-20") == 1
    assert len(service.log.snapshot().outcomes) == 1


def test_the_same_event_at_the_same_time_is_applied_once(service, store):
    async def run():
        async with service.client() as client:
            return await asyncio.gather(
                *(client.post("/v1/events", json={"events": [event()]}) for _ in range(5))
            )

    responses = asyncio.run(run())
    assert sum(response.json()["duplicates"] for response in responses) == 4
    assert store.users["known"].history.count("item-20") == 1


def test_events_of_one_user_at_the_same_time_are_all_kept(service, store):
    async def run():
        async with service.client() as client:
            await asyncio.gather(
                *(
                    client.post(
                        "/v1/events", json={"events": [event(event_id=f"e{row}", item_id=f"item-{row}")]}
                    )
                    for row in range(10, 30)
                )
            )

    asyncio.run(run())
    assert {f"item-{row}" for row in range(10, 30)} <= set(store.users["known"].history)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item_id": "nowhere"}, "unknown_item"),
        ({"occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "future_dated"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "future_dated"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "impossible_date"),
    ],
)
def test_impossible_events_are_quarantined_and_counted(service, store, changes, reason):
    service.call(
        ("POST", "/v1/events", {"json": {"events": [event(**changes), event(event_id="good")]}}),
        ("GET", "/metrics", {}),
    )
    answer = service.responses[0].json()
    assert answer["accepted"] == 1
    assert [(set_aside["index"], set_aside["reason"]) for set_aside in answer["quarantined"]] == [(0, reason)]
    (kept,) = service.log.snapshot().quarantined
    assert (kept.event_id, kept.reason) == ("event-1", reason)
    assert f'streamrec_events_quarantined_total{{reason="{reason}"}} 1.0' in service.responses[1].text
    assert store.users["known"].history[-1] == "item-20"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": {}}, "events"),
        ({"events": None}, "events"),
        ({"events": [{}] * 501}, "events"),
        ({"events": [event()], "surprise": 1}, "surprise"),
        ([event()], "body"),
        ("events", "body"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_envelope_is_refused_and_named(service, body, field):
    document = problem(service.call(("POST", "/v1/events", {"json": body})))
    assert document["errors"][0]["field"] == field
    assert not service.log.snapshot().outcomes


def test_events_that_cannot_be_stored_are_not_acknowledged_and_not_applied(service, store):
    async def run():
        async with service.client() as client:
            service.log.error = DependencyError("the disk is full")
            refused = await client.post("/v1/events", json={"events": [event()]})
            history = store.users["known"].history
            service.log.error = None
            return refused, history, await client.post("/v1/events", json={"events": [event()]})

    refused, history, accepted = asyncio.run(run())
    assert problem(refused, 503)["type"].endswith("events-not-stored")
    assert "item-20" not in history
    assert accepted.json()["duplicates"] == 0
    assert "item-20" in store.users["known"].history


def test_events_are_acknowledged_while_the_feature_store_is_down(stages, store):
    service = Service(stages, store, drain_s=0.1)  # the end waits for a store that never takes them
    store.error = DependencyError("down")
    assert service.events(event()).json()["accepted"] == 1
    assert len(service.log.snapshot().outcomes) == 1


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def test_ids_belong_to_users(service, store):
    answer = service.events(event(), event(user_id="other"), event(user_id="other")).json()
    assert (answer["accepted"], answer["duplicates"]) == (3, 1)
    assert [outcome.unit for outcome in service.log.snapshot().outcomes] == ["known", "other"]
    assert "item-20" in store.users["other"].history


@pytest.mark.parametrize("changes", [{"occurred_at": TOMORROW}, {"item_id": "nowhere"}])
def test_an_event_that_was_set_aside_gets_the_same_verdict_again(service, changes):
    send = ("POST", "/v1/events", {"json": {"events": [event(**changes), event(**changes)]}})
    service.call(send, send)
    for response in service.responses:
        answer = response.json()
        assert (answer["accepted"], answer["duplicates"]) == (0, 0)
        assert [kept["index"] for kept in answer["quarantined"]] == [0, 1]
    assert service.log.snapshot().outcomes == ()
    assert len(service.log.snapshot().quarantined) == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_corrected_event_is_stored_and_applied_once(service, store, together):
    sent = [event(occurred_at=TOMORROW), event(), event(item_id="item-21")]
    batches = [sent] if together else [[single] for single in sent]
    service.call(*(("POST", "/v1/events", {"json": {"events": batch}}) for batch in batches))
    answers = [response.json() for response in service.responses]
    assert sum(answer["accepted"] - answer["duplicates"] for answer in answers) == 1
    assert [len(answer["quarantined"]) for answer in answers] == [1, 0, 0][: len(batches)]
    (stored,) = service.log.snapshot().outcomes
    assert (stored.item_id, stored.occurred_at.isoformat()) == ("item-20", "2024-05-01T12:00:00+00:00")
    assert store.users["known"].history.count("item-20") == 1
    assert "item-21" not in store.users["known"].history


def test_an_event_on_an_item_that_is_known_by_now_counts_when_it_is_sent_again(service):
    items = {"item-20"}
    send = ("POST", "/v1/events", {"json": {"events": [event(item_id="item-99")]}})

    async def run():
        async with service.client() as client:
            service.startup.gateway.intake._known_items = lambda: items
            first = await client.request(send[0], send[1], **send[2])
            items.add("item-99")
            return first.json(), (await client.request(send[0], send[1], **send[2])).json()

    first, second = asyncio.run(run())
    assert [kept["reason"] for kept in first["quarantined"]] == ["unknown_item"]
    assert (second["accepted"], second["quarantined"]) == (1, [])
    assert len(service.log.snapshot().outcomes) == 1


def test_an_event_is_taken_when_the_request_that_was_taking_it_fails(service):
    async def run():
        async with service.client() as client:
            append, calls = service.log.append, []

            def failing_first(records, *, durable=True):
                calls.append(records)
                if len(calls) == 1:
                    raise DependencyError("the disk is full")
                append(records, durable=durable)

            service.log.append = failing_first
            return await asyncio.gather(
                *(client.post("/v1/events", json={"events": [event()]}) for _ in range(2))
            )

    refused, taken = sorted(asyncio.run(run()), key=lambda response: -response.status_code)
    assert problem(refused, 503)
    assert taken.json()["accepted"] == 1
    assert len(service.log.snapshot().outcomes) == 1


def test_nothing_is_kept_of_a_user_who_was_erased(service, store):
    service.erased.add("known")
    before = store.users["known"].history
    service.call(
        ("POST", "/v1/events", {"json": {"events": [event(), event(user_id="other")]}}),
        ("POST", "/v1/recommendations", {"json": {"user_id": "known"}}),
    )
    taken, answer = (response.json() for response in service.responses)
    assert taken["accepted"] == 1
    assert [(kept["index"], kept["reason"]) for kept in taken["quarantined"]] == [(0, "erased_user")]
    assert answer["items"]
    snapshot = service.log.snapshot()
    assert [outcome.unit for outcome in snapshot.outcomes] == ["other"]
    assert (snapshot.impressions, snapshot.quarantined) == ((), ())
    assert store.users["known"].history == before


def test_the_answer_says_whether_every_gateway_knows_the_events(service, store):
    mine, other = event(), event(event_id="event-2", user_id="other")

    async def act():
        async with service.client() as client:
            store.error = DependencyError("down")
            answers = [await client.post("/v1/events", json={"events": [mine]}) for _ in range(2)]
            store.error = None
            answers.append(await client.post("/v1/events", json={"events": [mine, other]}))
            unread = await client.post("/v1/events", json={"events": [{"event_id": 1}]})
            return [answer.json() for answer in answers], unread.json()

    answers, unread = asyncio.run(act())
    assert [answer["in_effect"] for answer in answers] == [False, False, True]
    assert [answer["duplicates"] for answer in answers] == [0, 1, 1]
    assert unread["in_effect"] is True
