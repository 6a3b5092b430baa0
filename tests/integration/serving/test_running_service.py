"""One running service, asked over HTTP."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.contracts.stages import MODEL_NAMES
from services.recommendations.exposure_control.exposure_prices import ExposurePrices
from services.recommendations.exposure_control.price_files import open_price_publisher
from services.recommendations.pipeline.local_models import load_models
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.training.histories import user_states
from streamrec.contracts.models import ModelRef, ModelSpec
from streamrec.contracts.results import Verdict
from streamrec.erasure.erase import erase
from streamrec.erasure.erased_persons import ErasureFiles, record_erasure
from streamrec.erasure.event_log import EventLogData
from streamrec.erasure.online_features import OnlineFeaturesData
from streamrec.events.reader import FileEventReader
from streamrec.features.materialization import open_feature_store
from streamrec.ledger.memory_ledger import MemoryLedger
from streamrec.registry.mlflow_registry import MlflowModelRegistry
from streamrec.rollout.traffic_writer import TrafficWriter
from streamrec.training.splits import user_sequences
from tests.integration.serving.asking import click, ids, metric, recommend, undegraded
from tests.promoted import deploy, desk_of

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

STAGES = {"retrieval", "cold_start", "ranking", "reranking"}


@pytest.fixture(scope="module")
def offline(workspace):
    registry = MlflowModelRegistry(workspace.registry)
    versions = {stage: registry.get(ModelRef(name, 1)) for stage, name in MODEL_NAMES.items()}
    models = load_models(registry, versions)
    return OfflinePipeline(models, open_feature_store(workspace.features).item_table())


def test_ready_with_every_model(client):
    ready = client.get("/readyz").json()
    assert set(ready["model_versions"]) == STAGES
    assert ready["catalogue_items"] == 150


def test_known_users_get_what_the_offline_pipeline_says(client, offline, workspace):
    everything = user_sequences(workspace.dataset)
    for user in list(user_states(workspace.dataset, everything))[:30]:
        answer = undegraded(client, user.user_id)
        expected = offline.recommend(user, 10, answer["request_id"])
        assert ids(answer) == expected.item_ids
        assert answer["model_versions"] == expected.model_versions
        assert [item["score"] for item in answer["items"]] == pytest.approx(expected.scores, rel=1e-5)


def test_new_users_get_what_the_offline_pipeline_draws(client, offline):
    segment = {"country": "fi", "language": "fi", "age_band": "18-24", "signup_channel": "organic"}
    for number in range(10):
        answer = undegraded(client, f"nobody-{number}", context=segment)
        assert answer["cold_start"]
        assert set(answer["model_versions"]) == {"cold_start", "reranking"}
        expected = offline.recommend(
            UserState(f"nobody-{number}", Segment(**segment)), 10, answer["request_id"]
        )
        assert ids(answer) == expected.item_ids


def test_logged_draws_are_drawn_again_from_the_workspace(client, workspace, tmp_path):
    since = datetime.now(UTC).isoformat()
    asked = [undegraded(client, f"drawn-{number}")["request_id"] for number in range(3)]
    click(client, "drawn-0", ids(undegraded(client, "drawn-0"))[0])
    asked.append(undegraded(client, "drawn-0")["request_id"])  # draw, search and ranking together
    command = ["recommendations", "propensities", "--workspace", str(workspace.folder), "--since", since]

    events = FileEventReader(workspace.folder / "events")
    deadline_s = time.monotonic() + 30.0
    while not set(asked) <= {shown.request_id for shown in events.snapshot().impressions}:
        assert time.monotonic() < deadline_s, "the impressions are not in the log"
        time.sleep(0.1)
    shown = CliRunner().invoke(app, [*command, "--draws", "19", "--json", str(tmp_path / "found.json")])
    assert shown.exit_code == 0, shown.output
    found = json.loads((tmp_path / "found.json").read_text())
    for request_id in asked:
        propensity = found["propensities"][request_id]
        assert (propensity["kind"], propensity["draws"]) == ("monte_carlo", 19), shown.output
        assert len(propensity["values"]) == 10
        assert all(0.05 <= value <= 1.0 for value in propensity["values"])


def test_a_click_changes_the_next_answer(client):
    before = undegraded(client, "user-40")
    assert click(client, "user-40", ids(before)[0])["accepted"] == 1
    assert ids(before)[0] not in ids(recommend(client, "user-40"))


def test_clicks_make_a_new_user_a_known_one_by_and_by(client):
    first = undegraded(client, "newcomer")
    assert first["cold_start"]
    assert set(first["model_versions"]) == {"cold_start", "reranking"}
    for item_id in ids(first)[:5]:
        click(client, "newcomer", item_id)
        # Both sides answer while both have weight.
        assert set(undegraded(client, "newcomer")["model_versions"]) == STAGES
    assert not undegraded(client, "newcomer")["cold_start"]


def test_an_unknown_item_is_quarantined_and_counted(client, workspace):
    answer = click(client, "user-41", "item-of-nowhere")
    assert answer["accepted"] == 0
    assert answer["quarantined"][0]["reason"] == "unknown_item"
    assert metric(client, 'streamrec_events_quarantined_total{reason="unknown_item"}') == 1.0
    (kept,) = FileEventReader(workspace.folder / "events").snapshot().quarantined
    assert "item-of-nowhere" in kept.payload


def test_impressions_reach_the_log(client, workspace):
    answer = recommend(client, "user-42")
    deadline_s = time.monotonic() + 10.0
    while time.monotonic() < deadline_s:
        impressions = FileEventReader(workspace.folder / "events").snapshot().impressions
        found = [shown for shown in impressions if shown.request_id == answer["request_id"]]
        if found:
            break
        time.sleep(0.1)
    assert found[0].item_ids == ids(answer)


@pytest.mark.parametrize(
    ("content", "field", "status"),
    [
        (b'{"user_id": "u", "k": 501}', "k", 422),
        (b'{"user_id": "u", "k": NaN}', "k", 422),
        (b'{"user_id": 1}', "user_id", 422),
        (b"{", "body", 422),
        (b" " * 70_000, "body", 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_is_refused_through_the_whole_stack(client, content, field, status):
    response = client.post(
        "/v1/recommendations", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["field"] == field


def test_an_endless_body_is_cut_off(service):
    def endless():
        while True:
            yield b" " * 4096

    with httpx.Client(base_url=service.url, timeout=10.0) as client:
        try:
            response = client.post(
                "/v1/recommendations", content=endless(), headers={"content-type": "application/json"}
            )
        except httpx.TransportError:
            return  # the connection was closed before the answer could be read
    assert response.status_code == 413


def test_bodies_that_come_a_byte_at_a_time_hold_nobody_up(service, client):
    address = httpx.URL(service.url)
    head = (
        b"POST /v1/recommendations HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
        b"content-length: 1000\r\n\r\n"
    )
    with ExitStack() as connections:
        slow = [
            connections.enter_context(socket.create_connection((address.host, address.port)))
            for _ in range(200)
        ]
        for connection in slow:
            connection.sendall(head)
        for _ in range(10):
            for connection in slow:
                connection.sendall(b" ")
            assert recommend(client, "user-43")["items"]


def test_a_burst_is_answered_or_refused_before_ray_works_on_it_and_leaves_the_service_well(service, client):
    address = httpx.URL(service.url)
    body = b'{"user_id": "user-07"}'
    asked = (
        b"POST /v1/recommendations HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    with ExitStack() as connections:
        burst = [
            connections.enter_context(socket.create_connection((address.host, address.port), timeout=30.0))
            for _ in range(200)
        ]
        for connection in burst:
            connection.sendall(asked)
        assert client.get("/healthz").status_code == 200
        answers = [connection.makefile("rb").read().partition(b"\r\n\r\n")[0].lower() for connection in burst]
    refused = [head for head in answers if head.startswith(b"http/1.1 503")]
    assert refused
    assert len(refused) < len(answers)
    assert {head.split()[1] for head in answers} == {b"200", b"503"}
    assert all(b"retry-after: 1" in head for head in refused)
    # Ray adds a request id to whatever it has worked on: to a few that found their place taken on the way.
    assert sum(b"x-request-id" not in head for head in refused) > len(refused) / 2
    undegraded(client, "user-07")


def test_every_get_route_answers_head(client):
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b"")


def test_a_batch_of_the_most_events_fits_in_plain_and_compressed(client):
    batch = [late_event(f"fitting-{number}-{'x' * 100}") for number in range(500)]
    content = json.dumps({"events": batch}).encode()
    assert len(content) > 64 * 1024
    headers = {"content-type": "application/json"}
    plain = client.post("/v1/events", content=content, headers=headers)
    headers["content-encoding"] = "gzip"
    packed = client.post("/v1/events", content=gzip.compress(content), headers=headers)
    assert plain.json()["verdicts"] == ["accepted"] * 500
    assert packed.json()["verdicts"] == ["duplicate"] * 500


def test_replicas_are_as_nice_as_the_service_and_no_nicer(service):
    """By default Ray starts them at niceness 15: beside any other process they starve."""
    replicas = [pid for pid, command in service.session() if "ServeReplica" in command]
    assert len(replicas) >= len(STAGES) + 1
    own = os.getpriority(os.PRIO_PROCESS, service.process.pid)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in replicas} == {own}


def test_pages_are_served(client):
    assert "/v1/recommendations" in client.get("/docs").text
    assert client.get("/openapi.json").json()["paths"]
    assert client.get("/healthz").json() == {"status": "alive"}
    metrics = client.get("/metrics").text
    assert "streamrec_request_latency_seconds_bucket" in metrics
    assert 'slot="recommendations.ranking",version="recommendations-ranking@' in metrics


def test_killed_ranking_replica_costs_nobody_an_answer(service, client):
    undegraded(client, "user-43")
    (pid,) = [pid for pid, command in service.session() if "ServeReplica:recommendations:ranking" in command]
    os.kill(pid, signal.SIGKILL)
    rungs = set()
    deadline_s = time.monotonic() + 60.0
    while time.monotonic() < deadline_s:
        answer = recommend(client, "user-43")
        assert len(answer["items"]) == 10
        rungs.add(answer["rung"])
        if not answer["degraded"] and "retrieval_order" in rungs:
            break
        time.sleep(0.02)
    # While the replica's successor loads, a busy machine may be late for retrieval too: lower, but no error.
    assert rungs >= {"retrieval_order", "ranked"}
    undegraded(client, "user-43")


def test_published_prices_reach_the_replica_and_damaged_ones_do_not(client, workspace):
    """The last test of this module: prices change what the others compare."""
    path = workspace.folder / "exposure_prices.json"
    copy = workspace.folder / "exposure_prices.last_good.json"
    publisher = open_price_publisher(path, workspace.folder / "keys")
    body = ExposurePrices(datetime(2026, 11, 21, tzinfo=UTC), 0.3, 0.0, {}, {"fi": 0.5}).to_body()
    document = publisher.publish(body, expected_revision=0)
    deadline_s = time.monotonic() + 60.0
    while not copy.exists() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert copy.read_bytes() == document.content, "the replica verified it and keeps it for its next start"
    path.write_bytes(document.content.replace(b"0.5", b"0.6"))
    assert len(undegraded(client, "user-43")["items"]) == 10
    assert copy.read_bytes() == document.content


def test_a_person_who_is_erased_while_it_serves_does_not_come_back(client, workspace):
    user = f"erased-{uuid.uuid4().hex}"
    files = ErasureFiles(
        workspace.folder / "erasures.json", workspace.folder / "secret", workspace.folder / "keys"
    )
    stores = [EventLogData(workspace.folder / "events"), OnlineFeaturesData(workspace.features)]
    for number in range(3):
        click(client, user, f"item-00{number}")
        assert recommend(client, user)["items"]
    assert {store.name for store in stores if store.find(user)} == {"event log", "online features"}

    first = erase(user, stores, lambda person: record_erasure(files, person))

    assert first.verdict is Verdict.PASSED, first.reasons
    assert all(store["removed"] for store in first.content["stores"])
    late = client.post("/v1/events", json={"events": [late_event(user)]}).json()
    assert [kept["reason"] for kept in late["quarantined"]] == ["erased_user"]
    assert recommend(client, user)["cold_start"]
    second = erase(user, stores, lambda person: record_erasure(files, person))
    assert (second.verdict, [store["removed"] for store in second.content["stores"]]) == (
        Verdict.PASSED,
        [0, 0],
    )


def late_event(user_id):
    return {
        "event_id": uuid.uuid4().hex,
        "user_id": user_id,
        "item_id": "item-004",
        "kind": "click",
        "occurred_at": datetime.now(UTC).isoformat(),
    }


def register_copies(registry, folder):
    """The retriever and the cold-start model that lives in its space, once more as new versions."""
    retrieval, cold_start = (
        registry.get(ModelRef(MODEL_NAMES[stage], 1)) for stage in ("retrieval", "cold_start")
    )
    refs = []
    for version in (retrieval, cold_start):
        copy = folder / version.ref.name
        shutil.copytree(
            registry.fetch(version), copy, ignore=shutil.ignore_patterns("manifest.json", "MLmodel")
        )
        spec = ModelSpec(
            version.ref.name,
            version.signature,
            version.data_fingerprint,
            version.settings_fingerprint,
            depends_on={"retrieval": refs[0]} if refs else {},
            slot=version.slot,
        )
        refs.append(registry.register(spec, copy).ref)
    return refs


def test_a_promotion_under_traffic_reaches_every_request_whole(service, client, workspace, tmp_path):
    registry = MlflowModelRegistry(workspace.registry)
    new = register_copies(registry, tmp_path)
    ledger = MemoryLedger()
    deploy(desk_of(workspace.folder, registry, ledger), new)
    writer = TrafficWriter(workspace.traffic, workspace.folder / "keys", registry, ledger)
    answers, stop = [], threading.Event()

    def ask(number):
        with httpx.Client(base_url=service.url, timeout=10.0) as http:
            while not stop.is_set():
                user = f"user-{(7 * number + len(answers)) % 60:02d}"
                response = http.post("/v1/recommendations", json={"user_id": user, "k": 5})
                answers.append((response.status_code, response.json()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for change in (
            lambda: writer.promote(new, actor="test"),
            lambda: writer.roll_back("recommendations.retrieval", actor="test"),
        ):
            changed = change()
            assert len(changed.replicas) >= 2, "every replica of both slots has loaded its version first"
            flipped_s = time.monotonic()
            while client.get("/readyz").json()["traffic_revision"] != changed.revision:
                assert time.monotonic() < flipped_s + 30.0
                time.sleep(0.05)
            print(f"in force after {time.monotonic() - flipped_s:.2f} s")
            expected = {
                "retrieval": changed.after["recommendations.retrieval"].version,
                "cold_start": changed.after["recommendations.cold_start"].version,
            }
            ready = client.get("/readyz").json()
            assert {stage: ready["model_versions"][stage] for stage in expected} == expected
            assert ready["problems"] == []
            undegraded(client, "user-03")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    both = [
        (answer["model_versions"]["retrieval"], answer["model_versions"]["cold_start"])
        for _, answer in answers
        if {"retrieval", "cold_start"} <= answer["model_versions"].keys()
    ]
    assert set(both) == {(1, 1), (2, 2)}
    text = client.get("/metrics").text
    assert 'version="recommendations-retrieval@1"' in text


def test_sigterm_to_the_whole_group_leaves_nothing_behind(service):
    """The last test here: nobody is served afterwards."""
    os.killpg(service.process.pid, signal.SIGTERM)
    assert service.is_gone_within(10.0), service.session()
