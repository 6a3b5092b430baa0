from __future__ import annotations

import pytest

from services.recommendations.contracts.stages import MODEL_STAGES
from services.recommendations.gateway.settings import GatewaySettings
from services.recommendations.serving.application import GATEWAY, GraphSettings, ReplicaSettings


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
