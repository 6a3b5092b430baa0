"""Cases 6 and 7 of what the platform must survive: the stores behind the service are gone, in full.

`tests/integration/serving/test_failure_cases.py` holds a short form.
"""

from __future__ import annotations

import pytest

from tests.failures import store_cases
from tests.failures.services import breakable, redis_server, service
from tests.integration.serving.conftest import serve, trained

__all__ = ["breakable", "redis_server", "serve", "service", "trained"]

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
    "case", [store_cases.redis_stops, store_cases.redis_freezes], ids=["6 stopped", "6 frozen"]
)
def test_case(service, case):
    seen = case(service, BEFORE_S, OUTAGE_S)
    assert seen.during.percentile_ms(99) <= seen.before.percentile_ms(99) + store_cases.MORE_MS
