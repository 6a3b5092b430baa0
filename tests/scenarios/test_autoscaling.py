"""Replicas of a stage that is slowed to 50 ms come with the load and go with it; no other stage moves."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import pairwise

import pytest

from services.recommendations.contracts.stages import MODEL_STAGES, RANKING
from services.recommendations.serving.application import GATEWAY
from tests.failures.load import load_on
from tests.failures.parts import replicas
from tests.failures.services import USERS
from tests.integration.serving.conftest import serve, trained, workspace

__all__ = ["serve", "trained", "workspace"]

FEW_RPS, MANY_RPS = 10.0, 60.0
QUIET_S = 20.0
PATIENCE_S = 120.0
NOISY_S = 600.0
PIECE_S = 10.0
SEED = 10

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # MLflow's own tables use what SQLAlchemy will drop.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.fixture
def started(workspace, serve):
    """Starts a service whose ranking is slow, and ends it with the test: another one would take its cores."""
    services = []

    def start(*arguments):
        running = serve(workspace, "--slow-ranking", "--replicas", f"{GATEWAY}=1", *arguments)
        services.append(running)
        running.wait_for("/readyz", 200)
        return running

    yield start
    for running in services:
        running.kill_everything()


def counts(running):
    """Replicas by deployment."""
    return {deployment: len(replicas(running, deployment)) for deployment in (*MODEL_STAGES, GATEWAY)}


def watch(running, workspace, rps, until, patience_s):
    """Put a load on until something holds of the counts, or time is up; return the counts of each second."""
    seen = []
    with load_on(running.url, workspace.folder, USERS, rps=rps) as load:
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s and not (seen and until(seen[-1])):
            time.sleep(1.0)
            seen.append(counts(running))
        answers = load.finish()
    print(f"\n  {rps:.0f} rps for {len(seen)} s: {Counter(one[RANKING] for one in seen)}; {answers.said()}")
    # A request whose time was over before its turn came is refused too: replicas come later than load.
    assert [answer for answer in answers.failed if answer.status != 503] == []
    return seen


def test_a_step_adds_replicas_of_the_slow_stage_alone_and_gives_them_back(workspace, started):
    delays = ("--scaling-delays-s", "3", "10")
    running = started(*delays)
    usual = dict.fromkeys((*MODEL_STAGES, GATEWAY), 1)
    before = watch(running, workspace, FEW_RPS, lambda _: False, QUIET_S)
    assert all(one == usual for one in before)
    during = watch(running, workspace, MANY_RPS, lambda one: one[RANKING] > 1, PATIENCE_S)
    assert during[-1][RANKING] > 1
    after = watch(running, workspace, FEW_RPS, lambda one: one[RANKING] == 1, PATIENCE_S)
    assert after[-1] == usual
    assert all({**one, RANKING: 1} == usual for one in (*during, *after))


@pytest.mark.timeout(1_200)
def test_a_noisy_load_makes_no_stage_flap(workspace, started):
    """At the product's own delays, with a mean load that needs one and a half replicas."""
    running = started()
    numbers = random.Random(SEED)
    seen = []
    while len(seen) < NOISY_S:
        rps = numbers.uniform(FEW_RPS, MANY_RPS)
        seen += watch(running, workspace, rps, lambda _: False, PIECE_S)
    assert seen[-1][RANKING] == 2  # what the load needs
    for deployment in (*MODEL_STAGES, GATEWAY):
        changes = sum(before[deployment] != after[deployment] for before, after in pairwise(seen))
        assert changes <= 2, f"{deployment} changed {changes} times"
