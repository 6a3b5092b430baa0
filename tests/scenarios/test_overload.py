"""Case 23 of what the platform must survive: 2 to 5 times what the service can do."""

from __future__ import annotations

from functools import partial

import pytest

from tests.failures import overload_cases
from tests.failures.load import load_on
from tests.failures.services import USERS
from tests.integration.serving.conftest import serve, trained, workspace

__all__ = ["serve", "trained", "workspace"]

MEASURED_S = 8.0
OVERLOAD_S = 12.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module", params=["--together", None], ids=["together", "apart"])
def loaded(request, workspace, serve):
    """Makes loads on a service, and what it can do."""
    running = serve(workspace, *filter(None, [request.param]))
    running.wait_for("/readyz", 200)
    offered = overload_cases.generated(running.port, workspace.folder)
    load_on_it = partial(load_on, running.url, workspace.folder, USERS)
    yield load_on_it, offered, overload_cases.capacity_rps(offered, MEASURED_S)
    running.kill_everything()  # beside the next one it would take its cores


@pytest.mark.parametrize("times", [2.0, 5.0])
def test_case_23(loaded, times):
    load_on_it, offered, capacity_rps = loaded
    seen = overload_cases.overload(load_on_it, offered, times * capacity_rps, OVERLOAD_S)
    overload_cases.check(seen, capacity_rps)
