"""A stage in another process learns how long its answer is waited for, and does not work for nobody."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import StageReply
from services.recommendations.serving import stage_messages
from services.recommendations.serving.stage_deployments import RetrievalDeployment

FOUND = StageReply(Candidates(("a", "b"), np.array([2.0, 1.0], dtype=np.float32)), 7)


class StandIn:
    """Stands in for what serves the stage."""

    def __init__(self):
        self.calls = 0

    async def retrieve(self, _user, _count, _version):
        self.calls += 1
        return FOUND

    def close(self):
        pass


class Lag:
    """An event loop that is behind."""

    def current_ms(self):
        return 30.0


@pytest.fixture
def deployment():
    made = RetrievalDeployment.__new__(RetrievalDeployment)
    made._replica, made._lag = StandIn(), Lag()
    return made


def answer(deployment, remaining_ms):
    message = stage_messages.pack_find(UserState("u"), 2, "", 7)
    return asyncio.run(deployment.answer(message, remaining_ms))


@pytest.mark.parametrize("remaining_ms", [30.1, 70.0, math.inf])
def test_a_call_in_time_is_answered(deployment, remaining_ms):
    reply = stage_messages.unpack_found(answer(deployment, remaining_ms))
    assert reply.candidates.item_ids == ("a", "b")


@pytest.mark.parametrize("remaining_ms", [0.0, 10.0, 30.0])
def test_a_call_that_waited_for_longer_than_it_had_is_not_worked_on(deployment, remaining_ms):
    assert answer(deployment, remaining_ms) == stage_messages.OUT_OF_TIME
    assert deployment._replica.calls == 0


def test_a_replica_measures_its_own_loop(deployment):
    deployment._lag = None
    assert answer(deployment, 5.0) != stage_messages.OUT_OF_TIME
    assert deployment._lag is not None
