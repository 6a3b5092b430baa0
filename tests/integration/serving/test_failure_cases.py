"""What the platform must survive, in short: one service is broken in every way, one after the other.

`tests/scenarios` holds the long form, with the bars that take a longer look.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.recommendations.contracts.stages import MODEL_NAMES, RANKING
from streamrec.contracts.models import ModelRef
from tests.failures import (
    event_cases,
    feature_cases,
    input_cases,
    overload_cases,
    process_cases,
    registry_cases,
    store_cases,
)
from tests.failures.services import breakable, mended, redis_server, start_breakable

__all__ = ["breakable", "redis_server", "start_breakable"]

BEFORE_S = 0.5
OUTAGE_S = 2.0
OVERLOAD_RPS = 300.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def service(breakable):
    """Under a load that a machine bears that is busy with something else. Each test leaves it mended."""
    return replace(breakable, rps=10.0, warm_up_s=0.5, calm_s=1.0)


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
def test_odd_input(service, case):
    case(service)


def test_case_16_hostile_input(service):
    input_cases.attack(replace(service, rps=30.0), BEFORE_S)


def test_case_7_the_registry_is_gone(service):
    folder = service.workspace.folder
    registry, challenger = registry_cases.cut_off(folder), ModelRef(MODEL_NAMES[RANKING], 2)
    registry_cases.promotion_holds(service.load, folder, registry, challenger, BEFORE_S)


def test_case_23_far_more_than_it_can_do(service):
    """Whom it refuses it refuses with a 503, and it comes back; how fast is a matter of the long form."""
    offered = overload_cases.of_client(service.load)
    seen = overload_cases.overload(service.load, offered, OVERLOAD_RPS, OUTAGE_S, look_s=2.0)
    assert len(seen.refused) > 0
    assert len(seen.accepted) > 0
    mended(service)


@pytest.mark.parametrize(
    "case", [store_cases.redis_stops, store_cases.redis_freezes], ids=["6 stopped", "6 frozen"]
)
def test_online_store(service, case):
    # A circuit opens after some calls, not after some time.
    case(replace(service, rps=30.0), BEFORE_S, OUTAGE_S)


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
