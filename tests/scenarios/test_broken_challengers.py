"""A challenger with a tenth of 30 requests a second is broken in every way: nobody sees anything of it.

Where the stages are together and where they are apart.
"""

from __future__ import annotations

import shutil

import pytest

from tests.failures import challenger_cases
from tests.failures.broken_ranking import WAYS
from tests.failures.challenger_cases import TriedService
from tests.failures.challengers import Trials
from tests.integration.serving.conftest import Workspace, serve, trained

__all__ = ["serve", "trained"]

SPOILED_S = 10.0
ERRORS_S = 40.0
SLOW_S = 20.0
UNTOUCHED_MS = 10.0
"""What the champion's 99th percentile may differ by between two runs of twenty seconds."""
PLACEMENTS = {"together": ("--together", "--replicas", "gateway=2"), "apart": ("--replicas", "gateway=1")}

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture(scope="module", params=sorted(PLACEMENTS))
def service(request, trained, serve, tmp_path_factory) -> TriedService:
    folder = tmp_path_factory.mktemp("tried")
    for name in ("features", "traffic", "keys", "registry"):
        shutil.copytree(trained.folder / name, folder / name)
    workspace = Workspace(folder, trained.dataset)
    limits = ("--challenger-memory-bytes", str(512 * 1024 * 1024))
    running = serve(workspace, "--broken-ranking", *limits, *PLACEMENTS[request.param])
    running.wait_for("/readyz", 200)
    tried = TriedService(running, Trials(workspace))
    print(f"\n  {request.param}: the challenger is up and loaded after {tried.up_after_s:.1f} s")
    yield tried
    running.kill_everything()


@pytest.mark.parametrize("loads", sorted(challenger_cases.SAID))
def test_case_9_it_cannot_be_loaded(service, loads):
    challenger_cases.cannot_be_loaded(service, loads)


@pytest.mark.parametrize("way", WAYS)
def test_case_10_it_answers_nonsense(service, way):
    challenger_cases.answers_nonsense(service, way, SPOILED_S)


@pytest.mark.parametrize("share", [0.005, 0.05])
def test_case_11_it_fails_now_and_then(service, share):
    challenger_cases.fails_now_and_then(service, share, ERRORS_S)


def test_case_12_it_is_slow(service):
    well, slow = challenger_cases.is_slow(service, SLOW_S)
    assert slow.champions.percentile_ms(99) <= well.champions.percentile_ms(99) + UNTOUCHED_MS


def test_it_becomes_champion(service):
    challenger_cases.becomes_champion(service)
