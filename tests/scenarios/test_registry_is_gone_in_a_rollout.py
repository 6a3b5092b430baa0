"""MLflow is frozen, for real, while a rollout is about to promote (failure case 7).

The promotion holds and says so within 10 s, a rollback needs no registry, and once it answers again the
promotion goes on.
"""

from __future__ import annotations

import signal
import time

import pytest

from streamrec.contracts.rollouts.state import RolloutPhase
from streamrec.registry.mlflow_registry import MlflowModelRegistry, RegistrySettings
from streamrec.rollout.requests import Ask
from tests.failures.registry_cases import MlflowServer
from tests.promoted import desk_of
from tests.rolled_out import OPS, PLAN, RANKING, Platform

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture
def server(tmp_path):
    (tmp_path / "mlflow").mkdir()
    started = MlflowServer(tmp_path / "mlflow")
    yield started
    started.kill()


@pytest.fixture
def platform(tmp_path, server):
    (tmp_path / "workspace").mkdir()
    made = Platform(tmp_path / "workspace")
    made.registry = MlflowModelRegistry(RegistrySettings(server.url, None, tmp_path / "cache"))
    server.wait(made.registry)
    made.desk = desk_of(made.folder, made.registry, made.ledger)
    made.controller = made.new_controller()
    return made


def test_it_holds_and_says_so_and_goes_on_afterwards(platform, server):
    first, second, third = (platform.register("ranking") for _ in range(3))
    filled = platform.controller.start([first], PLAN, OPS)
    platform.until(filled.rollout, RolloutPhase.COMPLETED)
    platform.replicas_of("ranking")
    promoted = platform.controller.start([second], PLAN, OPS)
    platform.until(promoted.rollout, RolloutPhase.COMPLETED)
    state = platform.controller.promote([third], OPS)
    server.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        report = platform.pass_time(6.0)
        said_after_s = time.monotonic() - began
        assert said_after_s < 10.0
        why = " ".join(reason.message for reason in report.waiting[state.rollout])
        assert "the registry of models" in why
        for _ in range(3):
            platform.pass_time(6.0)
        assert platform.serving() == {RANKING: second}
        platform.controller.request(state.rollout, Ask.ABORT, OPS)
        platform.pass_time(1.0)
        platform.controller.roll_back(RANKING, OPS)
        platform.pass_time(1.0)
        assert platform.replicas[0].champion == first
    finally:
        server.send(signal.SIGCONT)
    server.wait(platform.registry)
    again = platform.controller.promote([third], OPS)
    platform.until(again.rollout, RolloutPhase.WATCH)
    platform.pass_time(20.0)
    assert platform.serving() == {RANKING: third}
    assert platform.registry.resolve("ranking").ref == third
    print(f"said after {said_after_s:.1f} s")
