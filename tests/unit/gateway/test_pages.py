"""Successive pages of one user's list: nothing twice, whichever gateway answers, and hostile tokens."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.contracts.pages import (
    FIRST_PAGE,
    MAXIMUM_PAGES,
    MAXIMUM_SHOWN_ITEMS,
    MAXIMUM_TOKEN_CHARACTERS,
    Page,
    _packed,
    read_page,
)
from services.recommendations.contracts.state_document import state_digest, state_of
from streamrec.contracts.errors import DependencyError, InvalidInputError
from tests.unit.gateway.service import Service, event, problem


def items(*numbers):
    return tuple(f"item-{number}" for number in numbers)


def test_a_page_comes_back_as_it_was_with_what_it_shows():
    first = FIRST_PAGE.next_token("ann", items(1, 2), 2)
    second = read_page(first, "ann")
    assert second == Page(2, items(1, 2))
    third = read_page(second.next_token("ann", ("päivä \u2028", '"'), 2), "ann")
    assert third == Page(3, (*items(1, 2), "päivä \u2028", '"'))
    assert read_page(None, "ann") == Page(1, ())


def test_a_list_ends_where_items_or_pages_or_room_do():
    assert FIRST_PAGE.next_token("ann", items(1), 2) is None
    assert FIRST_PAGE.next_token("ann", (), 5) is None
    assert Page(MAXIMUM_PAGES, items(1)).next_token("ann", items(2), 1) is None
    full = items(*range(MAXIMUM_SHOWN_ITEMS))
    assert FIRST_PAGE.next_token("ann", full, len(full)) is not None
    assert Page(2, items("more")).next_token("ann", full, len(full)) is None
    long = tuple(f"{number:0128}" for number in range(250))
    assert FIRST_PAGE.next_token("ann", long, 250) is None
    usual = tuple(f"{number:040}" for number in range(MAXIMUM_SHOWN_ITEMS))
    assert len(FIRST_PAGE.next_token("ann", usual, len(usual))) <= MAXIMUM_TOKEN_CHARACTERS


GOOD = FIRST_PAGE.next_token("ann", items(1, 2, 3), 3)


@pytest.mark.parametrize(
    "token",
    [
        GOOD[:-1],
        GOOD + "A",
        GOOD[:20] + ("A" if GOOD[20] != "A" else "B") + GOOD[21:],
        FIRST_PAGE.next_token("bob", items(1, 2, 3), 3),
        "",
        "A" * (MAXIMUM_TOKEN_CHARACTERS + 1),
        "ü" * 40,
        "+/==",
        "\0",
        base64.urlsafe_b64encode(b"\xff" * 99).decode(),
        _packed([2, 2, ["a"]], "ann"),
        _packed([1, 1, ["a"]], "ann"),
        _packed([1, True, ["a"]], "ann"),
        _packed([1, 2.0, ["a"]], "ann"),
        _packed([1, MAXIMUM_PAGES + 1, ["a"] * 12], "ann"),
        _packed([1, 2, []], "ann"),
        _packed([1, 2, "ab"], "ann"),
        _packed([1, 2, {"a": 1}], "ann"),
        _packed([1, 2, ["a", "a"]], "ann"),
        _packed([1, 2, [1]], "ann"),
        _packed([1, 2, [""]], "ann"),
        _packed([1, 2, ["a" * 129]], "ann"),
        _packed([1, 2, [["a"]]], "ann"),
        _packed([1, 2, [f"{n}" for n in range(MAXIMUM_SHOWN_ITEMS + 1)]], "ann"),
        _packed([1, 2], "ann"),
        _packed([], "ann"),
        _packed({"a": 1, "b": 2, "c": 3}, "ann"),
        _packed(json.loads("[" * 900 + "]" * 900), "ann"),
    ],
)
def test_what_is_no_token_of_this_user_is_refused_by_name(token):
    with pytest.raises(InvalidInputError) as raised:
        read_page(token, "ann")
    assert raised.value.field == "page_token"


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def ask(k, token=None, user="known"):
    body = {"user_id": user, "k": k} | ({} if token is None else {"page_token": token})
    return "POST", "/v1/recommendations", {"json": body}


def paged(clients, k, user="known"):
    """All pages of a list, each asked of the next gateway."""

    async def run():
        pages, token = [], None
        while not pages or token is not None:
            client = clients[len(pages) % len(clients)]
            method, path, rest = ask(k, token, user)
            response = await client.request(method, path, **rest)
            assert response.status_code == 200, response.text
            pages.append(response.json())
            token = pages[-1]["next_page_token"]
        return pages

    return run()


def on_two_gateways(stages, store, act):
    services = Service(stages, store), Service(stages, store)

    async def run():
        async with services[0].client() as first, services[1].client() as second:
            return await act((first, second))

    return asyncio.run(run()), services


@pytest.mark.parametrize("user", ["known", "nobody"])
def test_pages_of_two_gateways_show_everything_once(stages, store, user):
    pages, services = on_two_gateways(stages, store, lambda clients: paged(clients, 5, user))
    shown = [item["item_id"] for page in pages for item in page["items"]]
    unseen = 30 - len(store.users[user].history if user in store.users else ())
    assert len(shown) >= unseen
    assert len(set(shown)) == len(shown)
    assert [page["page"] for page in pages] == list(range(1, len(pages) + 1))
    logged = [impression for service in services for impression in service.log.snapshot().impressions]
    by_page = {ImpressionExtension.from_json(logged.extension).page: logged for logged in logged}
    assert sorted(by_page) == list(range(1, len(pages) + 1))
    for page in pages:
        assert list(by_page[page["page"]].item_ids) == [item["item_id"] for item in page["items"]]


def test_a_drawn_page_says_what_the_pages_before_showed(stages, store):
    pages, services = on_two_gateways(stages, store, lambda clients: paged(clients, 7, "nobody"))
    second = next(
        logged
        for logged in services[1].log.snapshot().impressions
        if ImpressionExtension.from_json(logged.extension).page == 2
    )
    assert second.seed is not None
    user = state_of("nobody", second.features)
    assert user.shown == tuple(item["item_id"] for item in pages[0]["items"])
    assert state_digest(user) == second.state_digest


def test_the_ladder_shows_no_page_twice_either(stages, store):
    async def act(clients):
        stages.retrieval.faults = [DependencyError("down")] * 100
        store.error = DependencyError("down")
        return await paged(clients, 10, "nobody")

    stages.cold_start.faults = [DependencyError("down")] * 100
    pages, _ = on_two_gateways(stages, store, act)
    shown = [item["item_id"] for page in pages for item in page["items"]]
    assert len(shown) == len(set(shown)) == 30
    assert all(page["degraded"] for page in pages)
    assert pages[-1]["next_page_token"] is None


def test_what_the_user_does_between_pages_counts(service):
    async def act():
        async with service.client() as client:
            method, path, rest = ask(5)
            first = (await client.request(method, path, **rest)).json()
            clicked = event(item_id="item-29")
            await client.post("/v1/events", json={"events": [clicked]})
            method, path, rest = ask(25, first["next_page_token"])
            return first, (await client.request(method, path, **rest)).json()

    first, second = asyncio.run(act())
    shown = {item["item_id"] for item in first["items"]}
    later = {item["item_id"] for item in second["items"]}
    assert not later & (shown | {"item-29"})
    assert second["next_page_token"] is None


@pytest.mark.parametrize("token", [GOOD, "x", "", 5, ["a"], "A" * (MAXIMUM_TOKEN_CHARACTERS + 1)])
def test_a_wrong_token_is_a_422_that_names_the_field(service, token):
    document = problem(service.call(ask(5, token)))
    assert "page_token" in json.dumps(document)
    assert "item-1" not in json.dumps(document)
