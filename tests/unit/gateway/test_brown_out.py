"""A brown-out, as callers, the log and the metrics see it."""

from __future__ import annotations

import pytest

from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.gateway.schemas import RecommendationAnswer
from streamrec.contracts.events import Propensity
from tests.unit.gateway.service import Service


@pytest.fixture
def service(stages, store):
    return Service(stages, store)


def ask(service):
    service.call(
        ("POST", "/v1/recommendations", {"json": {"user_id": "known", "k": 3}}), ("GET", "/metrics", {})
    )
    return RecommendationAnswer.model_validate_json(service.responses[0].content), service.responses[1].text


@pytest.mark.parametrize("effort", [Effort.FEWER_CANDIDATES, Effort.NO_RERANKING])
def test_an_answer_says_what_was_left_out_and_why_it_is_less(service, effort):
    service.effort = effort
    answer, metrics = ask(service)
    assert (answer.effort, answer.degraded, answer.skipped) == (effort, True, [])
    assert f'streamrec_effort_total{{effort="{effort.value}"}} 1.0' in metrics
    assert 'streamrec_effort_total{effort="full"} 0.0' in metrics
    assert "streamrec_degraded_total 1.0" in metrics


def test_a_full_answer_says_so_too(service):
    answer, metrics = ask(service)
    assert (answer.effort, answer.degraded) == (Effort.FULL, False)
    assert 'streamrec_effort_total{effort="full"} 1.0' in metrics
    assert "streamrec_brown_out_level 0.0" in metrics


def test_the_impression_keeps_what_was_left_out_and_the_slate_stays_certain(service):
    service.effort = Effort.NO_RERANKING
    ask(service)
    (impression,) = service.log.snapshot().impressions
    assert ImpressionExtension.from_json(impression.extension).effort is Effort.NO_RERANKING
    assert impression.version is None
    # It depends on the load, which knows nothing of users and items.
    assert impression.propensity == Propensity.certain(3)


def test_pressure_raises_the_level_and_is_exported(service):
    clock = iter(range(1_000))
    service.load._clock = lambda: 0.1 * next(clock)
    for _ in range(service.load.limit.current):
        service.load.admission.take()
    for _ in range(40):
        service.load.admission.has_room()
    metrics = service.call(("GET", "/metrics", {})).text
    assert "streamrec_brown_out_level 2.0" in metrics
    assert "streamrec_pressure 0.9" in metrics or "streamrec_pressure 1.0" in metrics
