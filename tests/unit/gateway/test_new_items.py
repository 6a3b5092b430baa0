"""Items that are put and removed while the gateway serves, and events on items that nobody knows yet."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from services.recommendations.gateway.live_items import LiveItems, readmit_for_ever
from services.recommendations.gateway.schemas import EventIn
from services.recommendations.gateway.waiting_events import WaitingEvents
from services.recommendations.pipeline.served_items import ServedItems
from streamrec.contracts.errors import DependencyError
from streamrec.contracts.items import Item
from streamrec.events.records import QuarantineReason
from streamrec.events.unknown_items import events_on_unknown_items
from streamrec.items.files import HEAD_FILE
from streamrec.items.follower import ItemFollower
from streamrec.items.item_log import FileItemLog
from streamrec.items.memory_item_log import MemoryItemLog
from tests.unit.gateway.service import Service, event

LATER = datetime.now(UTC)  # the events are received while the tests run
NEW = Item("item-99", "New", "creator", "fi", ("Drama",))


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def run(service, steps):
    async def inside():
        async with service.client() as client:
            await steps(client)

    asyncio.run(inside())


def change(service, *changes):
    service.item_log.append(changes)
    service.items.refresh()


async def slate(client, k=10, user_id="known"):
    answer = (await client.post("/v1/recommendations", json={"user_id": user_id, "k": k})).json()
    return answer, [item["item_id"] for item in answer["items"]]


def test_an_answer_without_items_says_why_and_is_counted(service):
    async def steps(client):
        whole, _ = await slate(client)
        assert whole["empty_reason"] is None
        change(service, *service.store.table.catalogue.item_ids)
        answer, items = await slate(client)
        assert (items, answer["empty_reason"]) == ([], "empty_catalogue")
        said = (await client.get("/metrics")).text
        assert 'streamrec_empty_answers_total{reason="empty_catalogue"} 1.0' in said
        assert 'streamrec_empty_answers_total{reason="everything_filtered"} 0.0' in said
        assert "streamrec_catalogue_items 0.0" in said

    run(service, steps)


def test_a_removed_item_is_answered_by_no_rung_and_no_stage_is_blamed_for_it(service):
    async def steps(client):
        _, before = await slate(client)
        change(service, before[0], before[3])
        answer, after = await slate(client)
        assert not answer["degraded"]
        assert {before[0], before[3]}.isdisjoint(after)
        assert len(after) == 10
        service.stages.retrieval.faults = [ValueError("a bug")] * 3
        answer, popular = await slate(client, k=30)
        assert answer["rung"] in ("popular_in_language", "static")
        assert {before[0], before[3]}.isdisjoint(popular)

    run(service, steps)


def test_what_answers_says_which_items_it_knew(service):
    async def steps(client):
        change(service, NEW, "item-00")
        await slate(client)
        ready = (await client.get("/readyz")).json()
        assert (ready["item_revision"], ready["catalogue_items"]) == (2, 30)
        metrics = (await client.get("/metrics")).text
        assert 'streamrec_item_revision{part="catalogue"} 2.0' in metrics
        assert 'streamrec_item_revision{part="retrieval"} 0.0' in metrics
        assert "streamrec_catalogue_items 30.0" in metrics

    run(service, steps)
    extension = service.log.snapshot().impressions[0].extension
    assert extension["item_revision"] == 2
    assert extension["stage_item_revisions"]["retrieval"] == 0


def test_an_item_log_that_cannot_be_read_is_said_and_the_catalogue_stays(service, tmp_path):
    service.item_log = ItemFollower(tmp_path)
    FileItemLog(tmp_path).append([NEW])

    async def steps(client):
        service.items.refresh()
        (tmp_path / HEAD_FILE).write_text("{")
        service.items.refresh()
        ready = (await client.get("/readyz")).json()
        assert (ready["item_revision"], ready["catalogue_items"]) == (1, 31)
        assert "is damaged" in ready["item_log_problem"]
        assert "streamrec_item_log_readable 0.0" in (await client.get("/metrics")).text

    run(service, steps)


def test_an_event_on_an_unknown_item_counts_once_when_the_item_is_known(service, store):
    async def steps(client):
        sent = {"events": [event(item_id="item-99"), event(event_id="other", item_id="item-98")]}
        for _ in range(2):
            answer = (await client.post("/v1/events", json=sent)).json()
            assert [kept["reason"] for kept in answer["quarantined"]] == ["unknown_item"] * 2
        intake = service.startup.gateway.intake
        assert await intake.readmit() == 0
        change(service, NEW)
        assert await intake.readmit() == 1
        assert await intake.readmit() == 0
        assert "streamrec_events_waiting 1.0" in (await client.get("/metrics")).text
        assert (await client.post("/v1/events", json=sent)).json()["duplicates"] == 1

    run(service, steps)
    snapshot = service.log.snapshot()
    assert [outcome.item_id for outcome in snapshot.outcomes] == ["item-99"]
    assert store.users["known"].history.count("item-99") == 1
    assert len(snapshot.quarantined) == 2
    assert [record.event_id for record in events_on_unknown_items(service.log, LATER)] == ["other"]
    assert events_on_unknown_items(service.log, LATER + timedelta(days=32)) == ()


def test_an_event_on_an_item_that_was_just_removed_counts(service, store):
    async def steps(client):
        change(service, "item-20")
        answer = (await client.post("/v1/events", json={"events": [event(item_id="item-20")]})).json()
        assert (answer["accepted"], answer["quarantined"]) == (1, [])

    run(service, steps)
    assert store.users["known"].history[-1] == "item-20"


def test_events_of_an_earlier_run_wait_too(service, stages, store):
    service.events(event(item_id="item-99"))
    later = Service(stages, store)
    later.log = service.log
    later.set_aside = events_on_unknown_items(service.log, LATER)

    async def steps(_client):
        change(later, NEW)
        assert await later.startup.gateway.intake.readmit() == 1
        assert await later.startup.gateway.intake.readmit() == 0

    run(later, steps)
    assert len(later.log.snapshot().outcomes) == 1
    assert events_on_unknown_items(later.log, LATER) == ()


def test_an_event_that_cannot_be_let_in_goes_on_waiting(service):
    async def steps(client):
        await client.post("/v1/events", json={"events": [event(item_id="item-99")]})
        change(service, NEW)
        service.log.error = DependencyError("the disk is full")
        intake = service.startup.gateway.intake
        with pytest.raises(DependencyError):
            await intake.readmit()
        service.log.error = None
        assert await intake.readmit() == 1

    run(service, steps)


def test_waiting_events_are_let_in_by_themselves(item_table):
    log = MemoryItemLog()
    items = LiveItems(ServedItems.from_item_table(item_table), log)
    seen, looked = [], asyncio.Event()

    async def readmit():
        seen.append(items.current().revision)
        looked.set()
        if len(seen) == 2:
            raise DependencyError("not now")
        return 0

    async def inside():
        task = asyncio.create_task(readmit_for_ever(items, readmit))
        await looked.wait()
        log.append([NEW])
        items.refresh()
        for _ in range(2):
            looked.clear()
            await looked.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(inside())
    assert seen == [0, 1, 1]  # at the start, after the change, and again because it failed


def test_waiting_is_bounded():
    waiting = WaitingEvents(2)
    for number in range(4):
        waiting.add(EventIn.model_validate_json(_json(number)))
    waiting.add(EventIn.model_validate_json(_json(3)))
    assert len(waiting) == 2
    assert [kept.event_id for kept in waiting.on_known({"x"}, 10)] == ["e2", "e3"]
    assert len(waiting.on_known({"x"}, 1)) == 1
    waiting.discard(("u", "e2"))
    assert len(waiting) == 1
    waiting.forget({"u"}.__contains__)
    assert len(waiting) == 0


def _json(number):
    return (
        f'{{"event_id":"e{number}","user_id":"u","item_id":"x","kind":"click",'
        '"occurred_at":"2024-01-01T00:00:00Z"}'
    )


def test_an_event_that_cannot_be_read_again_is_left_where_it_is(service, caplog):
    service.events(event(item_id="item-99"))
    record = service.log.snapshot().quarantined[0]
    assert record.reason is QuarantineReason.UNKNOWN_ITEM
    broken = type(record)(record.event_id, record.reason, record.received_at, "{}")
    waiting = WaitingEvents(5)
    waiting.add_set_aside([broken, record])
    assert len(waiting) == 1
    assert "cannot be read again" in caplog.text
