"""What the platform must survive at 30 requests a second, in full; the numbers are those of the cases.

One service is broken in every way, one after the other, and mends itself. Print what clients saw with
``pytest -s``. `tests/integration/serving/test_failure_cases.py` holds a short form.
"""

from __future__ import annotations

import pytest

from tests.failures import event_cases, feature_cases, input_cases, process_cases, store_cases
from tests.failures.services import breakable, busy_core, redis_server, service, start_breakable
from tests.integration.serving.conftest import serve, trained

__all__ = ["breakable", "busy_core", "redis_server", "serve", "service", "start_breakable", "trained"]

BEFORE_S = 10.0
OUTAGE_S = 10.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.redis,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


def test_case_1_one_of_two_rankers_is_killed(service):
    outcome = process_cases.one_of_two_rankers(service, BEFORE_S)
    assert outcome.after.not_ok == []
    assert outcome.after.percentile_ms(99) <= 2.0 * outcome.before.percentile_ms(99)


def test_case_3_all_rankers_are_killed(service):
    outcome = process_cases.all_rankers(service, BEFORE_S)
    assert outcome.after.not_ok == []
    # Half of them, not all: two new rankers start beside the client.
    assert outcome.fallbacks.percentile_ms(50) <= process_cases.FALLBACK_MS


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(process_cases.one_of_two_gateways, id="2 one of two gateways"),
        pytest.param(process_cases.controller, id="4 the controller"),
    ],
)
def test_killed(service, case):
    assert case(service, BEFORE_S).after.not_ok == []


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(process_cases.proxy, id="5 the proxy"),
        pytest.param(process_cases.proxy_manager, id="5 the manager of the proxy"),
    ],
)
def test_the_only_proxy_is_killed(service, case):
    case(service, BEFORE_S)


@pytest.mark.usefixtures("busy_core")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(process_cases.one_of_two_rankers, id="1 one of two rankers"),
        pytest.param(process_cases.one_of_two_gateways, id="2 one of two gateways"),
        pytest.param(process_cases.controller, id="4 the controller"),
    ],
)
def test_killed_beside_a_process_that_takes_a_core(service, case):
    case(service, BEFORE_S)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(store_cases.redis_stops, id="6 Redis stops"),
        pytest.param(store_cases.redis_freezes, id="6 Redis freezes"),
    ],
)
def test_online_store_is_gone(service, case):
    seen = case(service, BEFORE_S, OUTAGE_S)
    assert seen.first_second.not_ok == seen.during.not_ok == []
    assert seen.during.percentile_ms(99) <= seen.before.percentile_ms(99) + store_cases.MORE_MS


@pytest.mark.usefixtures("busy_core")
def test_online_store_freezes_beside_a_process_that_takes_a_core(service):
    store_cases.redis_freezes(service, BEFORE_S, OUTAGE_S)


def test_case_15_wrong_columns_in_requests(service):
    input_cases.wrong_columns(service)


def test_case_15_wrong_columns_in_online_rows(service):
    feature_cases.online_columns(service)


def test_case_16_hostile_requests_all_at_once(service):
    seen = input_cases.attack(service, BEFORE_S)
    assert seen.during.percentile_ms(99) <= 1.5 * seen.before.percentile_ms(99)


def test_case_16_a_byte_a_second(service):
    input_cases.slow_client_is_let_go(service, patience_s=15.0)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(event_cases.unknown_user_and_item, id="17 unknown user and item"),
        pytest.param(event_cases.everything_is_filtered, id="17 everything is filtered"),
        pytest.param(event_cases.catalogue_is_empty, id="17 the catalogue is empty"),
        pytest.param(event_cases.clocks_are_wrong, id="18 clocks are wrong"),
        pytest.param(event_cases.every_event_ten_times, id="19 every event ten times"),
    ],
)
def test_odd_events(service, case):
    case(service)
