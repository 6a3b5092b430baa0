from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from services.cli.demo.audience import Visit, plan_visits
from services.cli.demo.client import RecommendationClient
from services.cli.demo.traffic import drive, event_totals, first_answer_hits
from streamrec.client import UserEvent
from streamrec.contracts.events import InteractionKind
from streamrec.contracts.progress import SilentProgress
from streamrec.serving.retry_budget import RetryBudget


class Service:
    """A tiny recommendation service; `status_of` decides each recommendation's status by its number."""

    def __init__(self, status_of=lambda _number: 200, answer=None):
        self.status_of = status_of
        self.answer = answer
        self.recommendations = []
        self.events = []
        self.lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, reply = service.handle(self.path, body)
                content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def handle(self, path, body):
        with self.lock:
            if path == "/v1/events":
                self.events += body["events"]
                refused = [
                    {"index": index, "event_id": e["event_id"], "reason": "unknown_item", "detail": ""}
                    for index, e in enumerate(body["events"])
                    if e["item_id"] == "gone"
                ]
                accepted = len(body["events"]) - len(refused)
                return 200, {"accepted": accepted, "duplicates": 0, "quarantined": refused}
            number = len(self.recommendations)
            self.recommendations.append(body)
        status = self.status_of(number)
        if status != 200:
            return status, {"title": "no"}
        if self.answer is not None:
            return 200, self.answer
        return 200, {
            "request_id": f"r{number}",
            "user_id": body["user_id"],
            "items": [{"item_id": f"i{rank}", "position": rank, "score": 1.0} for rank in range(body["k"])],
            "rung": "ranked",
            "degraded": False,
            "in_full": True,
            "skipped": [],
            "cold_start": body["user_id"].startswith("new"),
            "model_versions": {"retrieval": 1},
            "latency_ms": 0.02,
            "stages_ms": {"retrieval": 0.01},
        }

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Crowd:
    def __init__(self, known=6, item="i0"):
        self.known = [f"u{number}" for number in range(known)]
        self.item = item

    def known_users(self):
        return self.known

    def new_user(self, index):
        return f"new{index}", {"language": "fr"}

    def respond(self, visit, _item_ids, request_id):
        return (UserEvent(visit.user_id, self.item, InteractionKind.CLICK, request_id),)


def plan(requests=40, share=0.25, crowd=None):
    return plan_visits(
        crowd or Crowd(), requests=requests, new_user_share=share, rng=np.random.default_rng(1)
    )


def test_the_plan_has_the_asked_mix_and_numbers_each_users_visits():
    visits = plan()
    assert len(visits) == 40
    assert sum(not visit.known_user for visit in visits) == 10
    assert len({visit.user_id for visit in visits if not visit.known_user}) == 2
    for user in {visit.user_id for visit in visits}:
        numbers = [visit.number for visit in visits if visit.user_id == user]
        assert numbers == list(range(len(numbers)))
    assert all(visit.context == ({} if visit.known_user else {"language": "fr"}) for visit in visits)


def test_known_users_come_back_and_nobody_known_makes_everybody_new():
    counts = {}
    for visit in plan(requests=8, share=0.0, crowd=Crowd(known=1000)):
        counts[visit.user_id] = counts.get(visit.user_id, 0) + 1
    assert set(counts.values()) == {2}
    assert all(not visit.known_user for visit in plan(requests=8, crowd=Crowd(known=0)))


def test_every_visit_is_made_in_order_and_its_events_are_fed_back():
    visits = plan()
    with Service() as service:
        result = drive(service.url, Crowd(), visits, SilentProgress(), k=3, clients=3)
        seen = [body["user_id"] for body in service.recommendations]
        assert len(service.events) == 40
    assert len(result.exchanges) == 40
    assert sorted(seen) == sorted(visit.user_id for visit in visits)
    for exchange in result.exchanges:
        assert exchange.record.answered
        assert exchange.record.item_ids == ("i0", "i1", "i2")
        assert exchange.record.cold_start is (not exchange.visit.known_user)
        assert exchange.record.latency_ms > 0
        assert set(exchange.record.stages_ms) == {"retrieval", "gateway", "http"}
    assert event_totals(result.exchanges)["accepted"] == 40
    for user in {visit.user_id for visit in visits}:
        numbers = [e.visit.number for e in result.exchanges if e.visit.user_id == user]
        assert numbers == sorted(numbers)


def test_quarantined_events_are_counted_by_reason():
    with Service() as service:
        result = drive(service.url, Crowd(item="gone"), plan(8), SilentProgress(), k=3)
    totals = event_totals(result.exchanges)
    assert (totals["sent"], totals["accepted"], totals["quarantined"], totals["failed"]) == (8, 0, 8, 0)
    assert totals["quarantined_by_reason"] == {"unknown_item": 8}


def test_client_errors_are_counted_and_never_retried():
    with Service(lambda _number: 422) as service:
        result = drive(service.url, Crowd(), plan(20), SilentProgress(), k=3)
        assert len(service.recommendations) == 20
        assert service.events == []
    assert {record.failure for record in result.records} == {"status 422"}
    assert not any(record.answered for record in result.records)


def test_retries_are_bounded_by_a_budget():
    with Service(lambda _number: 503) as service:
        result = drive(service.url, Crowd(), plan(100), SilentProgress(), k=3)
        # One retry to begin with and one for ten requests.
        assert 101 <= len(service.recommendations) <= 111
    assert {record.failure for record in result.records} == {"status 503"}


def test_a_passing_failure_is_retried_once():
    pauses = []
    with (
        Service(lambda number: 503 if number == 0 else 200) as service,
        RecommendationClient(service.url, RetryBudget(), sleep=pauses.append) as client,
    ):
        answer = client.recommend("u", known_user=True, k=2, context={})
    assert answer.record.answered
    assert answer.record.attempts == 2
    assert len(pauses) == 1


@pytest.mark.parametrize(
    "reply",
    [b"not json", ["a list"], {"items": [{"position": 0}]}, {"request_id": "r"}],
    ids=["not json", "not an object", "item without id", "fields missing"],
)
def test_an_unreadable_answer_is_a_failure(reply):
    with (
        Service(answer=reply) as service,
        RecommendationClient(service.url, RetryBudget(initial_retries=0.0)) as client,
    ):
        answer = client.recommend("u", known_user=True, k=2, context={})
    assert answer.record.failure.startswith("unreadable answer")
    assert answer.request_id is None


def test_a_service_that_is_down_is_a_failure():
    with RecommendationClient("http://127.0.0.1:1", RetryBudget(), sleep=lambda _seconds: None) as client:
        answer = client.recommend("u", known_user=True, k=2, context={})
        receipt = client.send_events([UserEvent("u", "i", InteractionKind.CLICK)])
    assert answer.record.failure == "ConnectError"
    assert receipt.failed == 1


def test_a_failing_audience_stops_all_clients():
    class Broken(Crowd):
        def respond(self, *_arguments):
            raise RuntimeError("boom")

    with Service() as service, pytest.raises(RuntimeError, match="boom"):
        drive(service.url, Broken(), plan(400), SilentProgress(), k=3)
    assert len(service.recommendations) < 400


def test_hits_count_first_answers_of_replayed_users_only():
    visits = [
        Visit("u0", True, 0, {}),
        Visit("u0", True, 1, {}),
        Visit("u1", True, 0, {}),
        Visit("u2", True, 0, {}),
    ]
    with Service() as service:
        result = drive(service.url, Crowd(), visits, SilentProgress(), k=12)
    hits = first_answer_hits(result.exchanges, {"u0": "i3", "u1": "i11"})
    assert sorted(hits) == [0.0, 1.0]
