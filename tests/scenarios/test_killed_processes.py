"""Cases 1 to 5 of what the platform must survive: kill -9 at 30 requests a second, in full.

`tests/integration/serving/test_failure_cases.py` holds a short form.
"""

from __future__ import annotations

import pytest

from tests.failures import process_cases
from tests.failures.services import breakable, busy_core, redis_server, service
from tests.integration.serving.conftest import serve, trained

__all__ = ["breakable", "busy_core", "redis_server", "serve", "service", "trained"]

BEFORE_S = 10.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.redis,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


def test_case_1_one_of_two_rankers(service):
    outcome = process_cases.one_of_two_rankers(service, BEFORE_S)
    assert outcome.after.percentile_ms(99) <= 2.0 * outcome.before.percentile_ms(99)


@pytest.mark.parametrize(
    "case",
    [
        process_cases.one_of_two_gateways,
        process_cases.all_rankers,
        process_cases.controller,
        process_cases.proxy,
        process_cases.proxy_manager,
    ],
    ids=["2 gateway", "3 all rankers", "4 controller", "5 proxy", "5 proxy manager"],
)
def test_case(service, case):
    case(service, BEFORE_S)


@pytest.mark.usefixtures("busy_core")
@pytest.mark.parametrize(
    "case",
    [process_cases.one_of_two_rankers, process_cases.one_of_two_gateways, process_cases.controller],
    ids=["1 ranker", "2 gateway", "4 controller"],
)
def test_case_beside_a_process_that_takes_a_core(service, case):
    case(service, BEFORE_S)
