from __future__ import annotations

import pytest

from services.recommendations.contracts.placement import Placement
from services.recommendations.contracts.stages import MODEL_STAGES
from services.recommendations.gateway.settings import GatewaySettings
from services.recommendations.serving.application import (
    GATEWAY,
    ChallengerSettings,
    GraphSettings,
    ReplicaSettings,
)
from services.recommendations.serving.workspace_service import workspace_graph
from streamrec.command_line.workspace import Workspace


def test_every_queue_is_bounded_and_every_stage_scales_by_itself():
    settings = GraphSettings()
    assert set(settings.replicas) == {*MODEL_STAGES, GATEWAY}
    for replicas in settings.replicas.values():
        options = replicas.as_options()
        assert 0 <= options["max_queued_requests"] <= 1000
        assert options["autoscaling_config"]["min_replicas"] >= 1
        assert options["autoscaling_config"]["upscale_delay_s"] > 0
        assert options["autoscaling_config"]["downscale_delay_s"] > 0
    assert sum(replicas.num_cpus * replicas.max_replicas for replicas in settings.replicas.values()) <= 2.0


def test_challengers_have_no_replica_until_somebody_calls():
    settings = GraphSettings()
    assert settings.challengers is not None
    for stage in MODEL_STAGES:
        options = settings.challengers.as_options(settings.replicas[stage])
        scaling = options["autoscaling_config"]
        assert (scaling["min_replicas"], scaling["initial_replicas"]) == (0, 0)
        assert scaling["max_replicas"] >= 1
        # Whoever is named in the document in force a moment ago may still be asked.
        assert scaling["downscale_to_zero_delay_s"] >= 2.0
        assert 0 <= options["max_queued_requests"] <= 1000
        # Ray gives a deployment up after 20 constructors that failed, by default.
        assert options["max_constructor_retry_count"] > 1_000_000


@pytest.mark.parametrize("wrong", [{"max_replicas": 0}, {"memory_bytes": 0}], ids=str)
def test_challengers_without_replicas_or_memory_are_refused(wrong):
    with pytest.raises(ValueError, match="challengers"):
        ChallengerSettings(**wrong)


def test_the_default_deadline_is_a_hundred_milliseconds():
    assert GatewaySettings().deadline_ms == 100.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_replicas": 0},
        {"min_replicas": 3, "max_replicas": 2},
        {"max_queued_requests": -1},
        {"max_ongoing_requests": 0},
    ],
    ids=str,
)
def test_replicas_without_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match=r"replicas|bounded"):
        ReplicaSettings(**wrong)


@pytest.mark.parametrize(("cores", "gateways"), [(1, 1), (2, 2), (8, 2)])
def test_where_the_stages_are_together_two_gateways_answer_if_there_are_cores(
    cores, gateways, tmp_path, monkeypatch
):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    replicas = workspace_graph(Workspace(tmp_path), Placement.TOGETHER).replicas[GATEWAY]
    assert (replicas.min_replicas, replicas.max_replicas) == (gateways, gateways)


def test_where_the_stages_are_apart_autoscaling_says_how_many_gateways_answer(tmp_path):
    replicas = workspace_graph(Workspace(tmp_path), Placement.APART).replicas[GATEWAY]
    assert replicas.min_replicas < replicas.max_replicas
    named = workspace_graph(Workspace(tmp_path), Placement.APART, 3).replicas[GATEWAY]
    assert (named.min_replicas, named.max_replicas) == (3, 3)
