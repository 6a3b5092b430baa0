"""The spoke's metrics read what its impressions hold, and mean by degraded what its answers do."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.rungs import Rung
from services.recommendations.gateway.impressions import impression_of
from streamrec.metrics.catalogue import parse_metrics
from streamrec.metrics.fields import holds
from tests.unit.gateway.test_impressions import ANSWER, NOW, USER

ROOT = Path(__file__).resolve().parents[3]
METRICS = parse_metrics((ROOT / "services" / "recommendations" / "metrics.yaml").read_bytes())


def extension_of(answer):
    return impression_of("r", USER, answer, NOW, 12.5).extension


def test_every_field_that_is_read_is_one_of_the_extension():
    sources = [source for metric in METRICS.metrics.values() for source in metric.sources]
    named = [condition.field for source in sources for condition in (*source.where, *source.where_any)]
    named += [source.field for source in sources if source.field]
    named += [dimension.field for dimension in METRICS.dimensions.values()]
    assert len(named) >= 5
    assert {field.removeprefix("extension.") for field in named} <= set(extension_of(ANSWER))
    assert METRICS.dimensions["rung"].values == tuple(Rung)
    assert extension_of(ANSWER)["latency_ms"] == 12.5  # what the platform's latency_p99_ms reads


@pytest.mark.parametrize(("rung", "skipped", "effort"), [*product(Rung, [(), ("ranking",)], Effort)])
def test_degraded_is_what_an_answer_calls_degraded(rung, skipped, effort):
    answer = replace(ANSWER, rung=rung, skipped=skipped, effort=effort)
    extension = extension_of(answer)
    conditions = METRICS.metrics["degraded_rate"].of.where_any
    found = any(holds(one, extension[one.field.removeprefix("extension.")]) for one in conditions)
    assert found == answer.degraded
