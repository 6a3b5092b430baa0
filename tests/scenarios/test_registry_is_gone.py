"""Case 7 of what the platform must survive, with a real MLflow server that is killed, or frozen."""

from __future__ import annotations

import shutil
import signal
from functools import partial

import pytest

from services.recommendations.contracts.stages import MODEL_STAGES, RANKING
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from tests.failures.load import load_on
from tests.failures.registry_cases import MlflowServer, promotion_holds
from tests.failures.services import USERS
from tests.integration.serving.conftest import Workspace, serve, trained
from tests.promoted import promote, register_again

__all__ = ["serve", "trained"]

SERVING_S = 10.0

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    yield started
    started.kill()


@pytest.fixture(scope="module")
def served(trained, serve, server, tmp_path_factory):
    """A service whose versions come from the server, the registry, and a version that is not promoted."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(trained.folder / "features", folder / "features")
    source = MlflowModelRegistry(trained.registry)
    registry = MlflowModelRegistry(RegistrySettings(server.url, None, folder / "registry_cache"))
    server.wait(registry)
    made = [register_again(source, registry, stage, folder / "made") for stage in MODEL_STAGES]
    promote(folder, registry, *made)
    challenger = register_again(source, registry, RANKING, folder / "made_again")
    running = serve(Workspace(folder, trained.dataset), "--registry", server.url)
    running.wait_for("/readyz", 200)
    return running, folder, registry, challenger


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"])
def test_case_7(served, server, number):
    running, folder, registry, challenger = served
    server.send(number)
    try:
        promotion_holds(partial(load_on, running.url, folder, USERS), folder, registry, challenger, SERVING_S)
    finally:
        if number == signal.SIGSTOP:
            server.send(signal.SIGCONT)
