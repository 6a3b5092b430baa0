"""What the platform must survive, in short: one service is broken in every way, one after the other.

`tests/scenarios` holds the long form, with the bars that take a longer look.
"""

from __future__ import annotations

import pytest

from tests.failures import event_cases, feature_cases, input_cases, process_cases, store_cases
from tests.failures.services import breakable, redis_server, service

__all__ = ["breakable", "redis_server", "service"]

BEFORE_S = 0.5
OUTAGE_S = 2.5

pytestmark = [
    pytest.mark.ray,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.mark.parametrize(
    "case",
    [
        event_cases.unknown_user_and_item,
        event_cases.everything_is_filtered,
        event_cases.clocks_are_wrong,
        event_cases.every_event_ten_times,
        event_cases.catalogue_is_empty,
        input_cases.wrong_columns,
        feature_cases.online_columns,
    ],
    ids=["17 unknown", "17 filtered", "18 clocks", "19 ten times", "17 empty", "15 sent", "15 stored"],
)
def test_odd_input(breakable, case):
    case(breakable)


def test_case_16_hostile_input(service):
    input_cases.attack(service, BEFORE_S)


@pytest.mark.parametrize(
    "case", [store_cases.redis_stops, store_cases.redis_freezes], ids=["6 stopped", "6 frozen"]
)
def test_online_store(service, case):
    case(service, BEFORE_S, OUTAGE_S)


@pytest.mark.parametrize(
    "case",
    [
        process_cases.one_of_two_rankers,
        process_cases.one_of_two_gateways,
        process_cases.all_rankers,
        process_cases.controller,
        process_cases.proxy,
    ],
    ids=["1 ranker", "2 gateway", "3 all rankers", "4 controller", "5 proxy"],
)
def test_killed(service, case):
    case(service, BEFORE_S)
