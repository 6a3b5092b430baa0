"""What the platform must survive where the stages run in the gateways, as far as it differs from apart."""

from __future__ import annotations

import pytest

from tests.failures import event_cases, input_cases, process_cases, store_cases
from tests.failures.services import breakable_together, redis_server, service_together, start_breakable
from tests.integration.serving.conftest import serve, trained

__all__ = ["breakable_together", "redis_server", "serve", "service_together", "start_breakable", "trained"]

BEFORE_S = 10.0
OUTAGE_S = 10.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.redis,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(process_cases.one_of_two_gateways, id="2 one of two gateways"),
        pytest.param(process_cases.controller, id="4 the controller"),
    ],
)
def test_killed(service_together, case):
    assert case(service_together, BEFORE_S).after.not_ok == []


def test_case_5_the_only_proxy_is_killed(service_together):
    process_cases.proxy(service_together, BEFORE_S)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(store_cases.redis_stops, id="6 Redis stops"),
        pytest.param(store_cases.redis_freezes, id="6 Redis freezes"),
    ],
)
def test_online_store_is_gone(service_together, case):
    seen = case(service_together, BEFORE_S, OUTAGE_S)
    assert seen.first_second.not_ok == seen.during.not_ok == []
    assert seen.during.percentile_ms(99) <= seen.before.percentile_ms(99) + store_cases.MORE_MS


def test_case_16_hostile_requests_all_at_once(service_together):
    seen = input_cases.attack(service_together, BEFORE_S)
    assert seen.during.percentile_ms(99) <= 1.5 * seen.before.percentile_ms(99)


def test_case_17_the_catalogue_is_empty(service_together):
    event_cases.catalogue_is_empty(service_together)


def test_case_19_every_event_ten_times(service_together):
    event_cases.every_event_ten_times(service_together)
