"""The contract of both clients, against a real server that misbehaves."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamrec.client import (
    FieldProblem,
    LateError,
    NoAnswerError,
    ProblemError,
    RateLimitedError,
    RecommendedItem,
    RefusedError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedStatusError,
    UnreadableAnswerError,
    UserEvent,
)
from streamrec.contracts.errors import InvalidInputError, PermanentError, TemporaryError
from streamrec.serving.retry_budget import RetryBudget
from tests.unit.client.misbehaving_server import ANSWER, Server, answer, problem

BUSY = problem(503, "retry-after: 1")
NO_RETRIES = {"maximum_attempts": 1}


def lavish():
    return RetryBudget(ratio=1.0, maximum_retries=100.0, initial_retries=100.0)


# -- what is asked and answered ------------------------------------------------------------------------


def test_a_slate_comes_back_typed(opened):
    with Server() as server, opened(server.url) as client:
        slate = client.recommend("u")
    assert slate.items[1] == RecommendedItem("i1", 1, 0.0)
    assert slate.item_ids == ("i0", "i1", "i2")
    assert (slate.request_id, slate.user_id, slate.rung, slate.degraded) == ("r1", "u", "ranked", False)
    assert (slate.price_revision, slate.latency_ms, slate.stages_ms) == (7, 4.5, {"retrieval": 1.25})
    assert (slate.client_request_id, slate.next_page_token, slate.attempts) == (None, None, 1)


def test_only_what_the_caller_says_is_sent(opened):
    with Server() as server, opened(server.url) as client:
        client.recommend("u")
        client.recommend("u", k=3, context={"language": "fi"}, request_id="mine", page_token="next")
    bare, full = server.requests
    assert (bare.method, bare.path, bare.document) == ("POST", "/v1/recommendations", {"user_id": "u"})
    assert full.document == {
        "user_id": "u",
        "k": 3,
        "context": {"language": "fi"},
        "request_id": "mine",
        "page_token": "next",
    }
    assert "authorization" not in bare.headers
    assert "x-request-timeout-ms" not in bare.headers
    assert bare.headers["accept-encoding"] == "identity"


def test_a_path_of_the_address_and_the_token_are_sent(opened):
    with Server() as server, opened(f"{server.url}/behind/", token="abc-._~+/123==") as client:
        client.recommend("u")
    assert server.requests[0].path == "/behind/v1/recommendations"
    assert server.requests[0].headers["authorization"] == "Bearer abc-._~+/123=="


def test_fields_of_a_newer_service_are_ignored_and_those_it_may_leave_out_have_defaults(opened):
    newer = ANSWER | {"surprise": {"deep": [1]}, "next_page_token": "p2"}
    older = {name: ANSWER[name] for name in ("request_id", "user_id", "items", "rung", "degraded")}
    with Server(answer(200, newer), answer(200, older)) as server, opened(server.url) as client:
        assert client.recommend("u").next_page_token == "p2"
        slate = client.recommend("u")
    assert (slate.skipped, slate.in_full, slate.stages_ms, slate.price_revision) == ((), True, {}, None)


def test_one_connection_serves_many_requests(opened):
    with Server() as server, opened(server.url) as client:
        for _ in range(5):
            client.recommend("u")
        assert server.connections == 1


# -- deadlines -----------------------------------------------------------------------------------------


def test_the_service_is_told_what_is_left_of_the_deadline(opened):
    with Server() as server, opened(server.url, network_ms=10.0) as client:
        client.recommend("u", deadline_ms=5_000.0)
        client.recommend("u", deadline_ms=600.0)
    told = [int(request.headers["x-request-timeout-ms"]) for request in server.requests]
    assert 4_000 < told[0] <= 4_990
    assert told[1] <= 590


SLOW = {
    "says nothing": [5.0],
    "trickles its head": [piece for byte in answer() for piece in (bytes([byte]), 0.02)],
    "trickles its body": [
        answer()[:80],
        *(piece for byte in answer()[80:] for piece in (bytes([byte]), 0.02)),
    ],
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_a_slow_answer_is_not_waited_for_beyond_the_deadline(opened, script):
    with Server(script) as server, opened(server.url, lavish()) as client:
        started = time.monotonic()
        with pytest.raises(LateError) as late:
            client.recommend("u", deadline_ms=60.0)
        # The scripts go on for 5 s; a machine under load may be late by much less.
        assert time.monotonic() - started < 3.0
        assert len(server.requests) == 1
    assert isinstance(late.value, TemporaryError)
    assert late.value.attempts == 1


def test_a_call_without_a_deadline_has_the_clients_own(opened):
    with Server([5.0]) as server, opened(server.url, timeout_s=0.05) as client:
        with pytest.raises(LateError):
            client.recommend("u")
        assert "x-request-timeout-ms" not in server.requests[0].headers


def test_a_server_that_accepts_nothing_is_late(opened):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with opened(url) as client, pytest.raises(LateError):
            client.recommend("u", deadline_ms=60.0)


@pytest.mark.parametrize("deadline_ms", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_deadline_that_is_none_is_refused(opened, deadline_ms):
    with Server() as server, opened(server.url) as client:
        with pytest.raises(InvalidInputError, match="deadline_ms"):
            client.recommend("u", deadline_ms=deadline_ms)
        assert server.requests == []


# -- retries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(opened, status):
    with Server(problem(status), answer()) as server, opened(server.url, lavish()) as client:
        slate = client.recommend("u", request_id="mine")
    assert slate.attempts == 2
    assert len(client.pauses) == 1
    assert 0.025 <= client.pauses[0] <= 0.05
    assert server.requests[0].document == server.requests[1].document


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 500, 302])
def test_what_will_not_pass_is_not_tried_again(opened, status):
    with Server(problem(status)) as server, opened(server.url, lavish()) as client:
        with pytest.raises(ProblemError) as failed:
            client.recommend("u")
        assert len(server.requests) == 1
    assert isinstance(failed.value, PermanentError)


def test_the_services_word_on_when_to_come_back_is_kept(opened):
    with Server(BUSY, answer()) as server, opened(server.url, lavish()) as client:
        assert client.recommend("u").attempts == 2
        assert client.pauses == [1.0]


def test_no_retry_where_its_pause_would_outlast_the_deadline(opened):
    with Server(BUSY) as server, opened(server.url, lavish()) as client:
        with pytest.raises(UnavailableError) as refused:
            client.recommend("u", deadline_ms=900.0)
        assert len(server.requests) == 1
    assert client.pauses == []
    assert refused.value.problem.retry_after_s == 1.0


def test_retry_after_may_be_a_date(opened):
    ago = "retry-after: Sun, 06 Nov 1994 08:49:37 GMT"
    for header in (ago, "retry-after: soon", "retry-after: -1"):
        with Server(problem(503, header), answer()) as server, opened(server.url, lavish()) as client:
            assert client.recommend("u").attempts == 2
            assert client.pauses[0] < 0.1


def test_pauses_grow_and_attempts_are_counted(opened):
    with Server(problem(503)) as server, opened(server.url, lavish(), maximum_attempts=4) as client:
        with pytest.raises(UnavailableError) as refused:
            client.recommend("u")
        assert len(server.requests) == 4
    assert refused.value.attempts == 4
    for pause, longest in zip(client.pauses, (0.05, 0.1, 0.2), strict=True):
        assert longest / 2 <= pause <= longest


def test_retries_come_out_of_a_budget_that_clients_share(opened):
    budget = RetryBudget(ratio=0.1, maximum_retries=10.0, initial_retries=1.0)
    with (
        Server(problem(503)) as server,
        opened(server.url, budget) as one,
        opened(server.url, budget) as other,
    ):
        for client in (one, other) * 10:
            with pytest.raises(UnavailableError):
                client.recommend("u")
        # One to begin with, and one for ten requests.
        assert len(server.requests) == 23


# -- connections that break ----------------------------------------------------------------------------

BROKEN = {
    "closes at once": [None],
    "cut off in its head": [answer()[:30], None],
    "cut off in its body": [answer()[:-20], None],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", None],
    "an endless head": [b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000, None],
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_a_connection_that_breaks_is_tried_again(opened, script):
    with Server(script, answer()) as server, opened(server.url, lavish()) as client:
        assert client.recommend("u").attempts == 2
    with Server(script) as server, opened(server.url, **NO_RETRIES) as client:
        with pytest.raises(NoAnswerError) as broken:
            client.recommend("u")
        assert broken.value.reason
        assert isinstance(broken.value, TemporaryError)


def test_a_service_that_is_down_is_no_answer(opened):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with opened(url) as client, pytest.raises(NoAnswerError) as down:
        client.recommend("u")
    assert (down.value.reason, down.value.attempts) == ("ConnectError", 2)


# -- answers that are none -----------------------------------------------------------------------------


def without(name):
    return {key: value for key, value in ANSWER.items() if key != name}


UNREADABLE = {
    "garbage": (answer(content=b"\xff\x00<html>"), "not JSON"),
    "cut JSON": (answer(content=b'{"items": ['), "not JSON"),
    "nested": (answer(content=b"[" * 100_000), "not JSON"),
    "a list": (answer(200, [1]), "no object"),
    "no items": (answer(200, without("items")), "items"),
    "items of no list": (answer(200, ANSWER | {"items": {}}), "items"),
    "an item of text": (answer(200, ANSWER | {"items": ["i0"]}), "items"),
    "an item without id": (
        answer(200, ANSWER | {"items": [{"position": 0, "score": 1.0}]}),
        "items.0.item_id",
    ),
    "a score of text": (
        answer(200, ANSWER | {"items": [{"item_id": "i", "position": 0, "score": "1"}]}),
        "items.0.score",
    ),
    "a score that is not finite": (
        answer(200, ANSWER | {"items": [{"item_id": "i", "position": 0, "score": float("nan")}]}),
        "items.0.score",
    ),
    "a huge number": (answer(200, ANSWER | {"latency_ms": 10**400}), "latency_ms"),
    "a flag of a number": (answer(200, ANSWER | {"degraded": 1}), "degraded"),
    "a version of a flag": (answer(200, ANSWER | {"model_versions": {"ranking": True}}), "model_versions"),
    "times of no object": (answer(200, ANSWER | {"stages_ms": []}), "stages_ms"),
}


@pytest.mark.parametrize(("script", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_answer_that_is_none_names_what_is_wrong(opened, script, words):
    with Server(script) as server, opened(server.url, lavish()) as client:
        with pytest.raises(UnreadableAnswerError, match=words):
            client.recommend("u")
        assert len(server.requests) == 1


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without"])
def test_a_huge_answer_is_not_read_to_its_end(opened, told):
    head = b"HTTP/1.1 200 OK\r\n" + (b"content-length: 9000000000\r\n\r\n" if told else b"\r\n")
    endless = [head, *[b"x" * 65_536] * 4_000, None]
    with Server(endless) as server, opened(server.url, lavish(), maximum_answer_bytes=100_000) as client:
        with pytest.raises(UnreadableAnswerError, match="more than 100000 bytes"):
            client.recommend("u")
        assert len(server.requests) == 1


# -- problems ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, UnauthorizedError),
        (422, RefusedError),
        (429, RateLimitedError),
        (500, UnexpectedStatusError),
        (503, UnavailableError),
        (307, UnexpectedStatusError),
        (204, UnexpectedStatusError),
    ],
)
def test_a_status_is_a_type(opened, status, kind):
    content = b"" if status == 204 else b"<html>"
    with (
        Server(answer(status, content=content)) as server,
        opened(server.url, **NO_RETRIES) as client,
        pytest.raises(ProblemError) as failed,
    ):
        client.recommend("u")
    assert type(failed.value) is kind
    assert (failed.value.problem.status, failed.value.problem.type) == (status, "")


def test_a_problem_document_is_read(opened):
    errors = [{"field": "k", "problem": "too large"}, "noise", {"field": 3}]
    script = problem(422, "retry-after: 7", detail="k: too\nlarge", errors=errors)
    with Server(script) as server, opened(server.url) as client, pytest.raises(RefusedError) as failed:
        client.recommend("u")
    said = failed.value.problem
    assert (said.type, said.title, said.detail) == ("urn:streamrec:problem:x", "T", "k: too large")
    assert said.errors == (FieldProblem("k", "too large"), FieldProblem("", ""))
    assert said.retry_after_s == 7.0
    assert str(failed.value) == "status 422: k: too large"


# -- events --------------------------------------------------------------------------------------------


def receipt(request):
    events = request.document["events"]
    refused = [
        {"index": index, "event_id": event["event_id"], "reason": "unknown_item", "detail": "gone"}
        for index, event in enumerate(events)
        if event["item_id"] == "gone"
    ]
    accepted = len(events) - len(refused)
    return answer(200, {"accepted": accepted, "duplicates": 1, "quarantined": refused, "verdicts": []})


def test_events_are_sent_as_the_service_reads_them(opened):
    moment = datetime(2026, 5, 1, 12, 0, 0, 500, tzinfo=timezone(timedelta(hours=2)))
    event = UserEvent("u", "i", "click", request_id="r", value=1.5, occurred_at=moment, event_id="e")
    with Server(receipt) as server, opened(server.url) as client:
        said = client.send_events([event, UserEvent("u", "gone", "play")])
    first, second = server.requests[0].document["events"]
    assert first == {
        "event_id": "e",
        "user_id": "u",
        "item_id": "i",
        "kind": "click",
        "occurred_at": "2026-05-01T12:00:00.000500+02:00",
        "request_id": "r",
        "value": 1.5,
    }
    assert set(second) == {"event_id", "user_id", "item_id", "kind", "occurred_at"}
    assert (said.sent, said.accepted, said.duplicates, said.attempts) == (2, 1, 1, 1)
    assert [(event.index, event.reason, event.detail) for event in said.quarantined] == [
        (1, "unknown_item", "gone")
    ]


def test_many_events_go_in_batches_of_500_and_come_back_as_one_receipt(opened):
    events = [UserEvent("u", "gone" if number == 1100 else "i", "click") for number in range(1101)]
    with Server(receipt) as server, opened(server.url) as client:
        said = client.send_events(events)
    assert [len(request.document["events"]) for request in server.requests] == [500, 500, 101]
    assert (said.sent, said.accepted, said.duplicates, said.attempts) == (1101, 1100, 3, 3)
    assert [event.index for event in said.quarantined] == [1100]


def test_a_receipt_says_whether_all_of_it_is_in_effect(opened):
    def late(request):
        content = {"accepted": len(request.document["events"]), "quarantined": []}
        return answer(200, content | {"in_effect": len(request.document["events"]) == 500})

    events = [UserEvent("u", "i", "click") for _ in range(501)]
    with Server(late) as server, opened(server.url) as client:
        assert client.send_events(events[:500]).in_effect
        assert not client.send_events(events).in_effect
        assert not client.send_events(events[::-1]).in_effect
    with Server(receipt) as server, opened(server.url) as client:
        assert client.send_events(events[:1]).in_effect  # a service of before does not say


def test_no_events_are_no_request(opened):
    with Server(receipt) as server, opened(server.url) as client:
        assert client.send_events([]).sent == 0
    assert server.requests == []


def test_a_retry_repeats_the_ids_so_that_nothing_counts_twice(opened):
    events = [UserEvent("u", "i", "click") for _ in range(3)]
    with Server([None], receipt) as server, opened(server.url, lavish()) as client:
        assert client.send_events(events).attempts == 2
        client.send_events(events)
    sent = [[event["event_id"] for event in request.document["events"]] for request in server.requests]
    assert len(set(sent[0])) == 3
    assert sent[0] == sent[1] == sent[2]


def test_an_error_says_what_was_acknowledged_before_it(opened):
    events = [UserEvent("u", "i", "click") for _ in range(700)]
    for scripts, acknowledged in (((receipt, problem(422)), 500), ((problem(422),), 0)):
        with (
            Server(*scripts) as server,
            opened(server.url) as client,
            pytest.raises(RefusedError) as failed,
        ):
            client.send_events(events)
        assert failed.value.acknowledged.sent == acknowledged


def test_events_without_a_zone_or_a_finite_value_are_refused_where_they_are_made():
    with pytest.raises(InvalidInputError, match="occurred_at"):
        UserEvent("u", "i", "click", occurred_at=datetime(2026, 5, 1))  # noqa: DTZ001
    with pytest.raises(InvalidInputError, match="value"):
        UserEvent("u", "i", "click", value=float("nan"))
    assert UserEvent("u", "i", "click").occurred_at.tzinfo is UTC
