from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.evaluation.batched_stages import BatchedColdStart, BatchedRetrieval
from services.recommendations.pipeline.local_stages import LocalColdStart, LocalRetrieval
from streamrec.contracts.errors import NotReadyError

COUNT, REQUEST = 20, "moment-0"


def answer(call):
    """The result of a stage that answers at once."""
    with pytest.raises(StopIteration) as done:
        call.send(None)
    return done.value.value


@pytest.fixture
def users(models):
    """Users with 0 to 4 items of history, and those histories as rows of the index."""
    index = models.retrieval.index
    histories = np.full((5, 4), -1, dtype=np.int32)
    for length in range(5):
        histories[length, :length] = np.arange(length) * 7 + length
    languages = ["en", "es", "de", "unknown", "en"]
    states = [
        UserState(
            f"u{row}", Segment(language=language), tuple(index.item_ids[item] for item in own if item >= 0)
        )
        for row, (own, language) in enumerate(zip(histories, languages, strict=True))
    ]
    return states, histories


def test_each_user_gets_the_answer_of_the_stage_that_asks_one_at_a_time(models, users):
    states, histories = users
    cold_start, retrieval = BatchedColdStart(models.cold_start, 3), BatchedRetrieval(models.retrieval, 3)
    cold_start.prepare(states, histories, COUNT, REQUEST)
    retrieval.prepare(states, histories, COUNT)
    for user in states:
        drawn = answer(cold_start.retrieve(user, COUNT, REQUEST))
        alone = answer(LocalColdStart(models.cold_start, 3).retrieve(user, COUNT, REQUEST))
        assert drawn.candidates.item_ids == alone.candidates.item_ids
        assert drawn.version == alone.version == 3
        found = answer(retrieval.retrieve(user, COUNT))
        alone = answer(LocalRetrieval(models.retrieval, 3).retrieve(user, COUNT))
        assert found.candidates.item_ids == alone.candidates.item_ids


def test_what_was_not_prepared_is_refused_and_a_new_moment_forgets_the_last(models, users):
    states, histories = users
    cold_start, retrieval = BatchedColdStart(models.cold_start, 3), BatchedRetrieval(models.retrieval, 3)
    cold_start.prepare(states, histories, COUNT, REQUEST)
    retrieval.prepare(states, histories, COUNT)
    for call in (
        cold_start.retrieve(UserState("stranger"), COUNT, REQUEST),
        cold_start.retrieve(states[0], COUNT, "moment-1"),
        retrieval.retrieve(states[0], COUNT + 1),
    ):
        with pytest.raises(NotReadyError, match="no answer was prepared"):
            call.send(None)
    cold_start.prepare([], histories[:0], COUNT, REQUEST)
    retrieval.prepare([], histories[:0], COUNT)
    with pytest.raises(NotReadyError, match="u0"):
        cold_start.retrieve(states[0], COUNT, REQUEST).send(None)
    with pytest.raises(NotReadyError, match="u0"):
        retrieval.retrieve(states[0], COUNT).send(None)
