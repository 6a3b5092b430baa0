from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.recommendations.gateway.readiness import Gateway, Startup, open_features
from services.recommendations.gateway.schemas import Readiness
from streamrec.contracts.errors import DamagedRowError, DependencyError, NotReadyError, PermanentError
from streamrec.features.store import ItemTable
from tests.unit.pipeline.conftest import make_catalogue


def test_a_store_that_does_not_answer_yet_is_no_reason_not_to_serve(store):
    store.error = DependencyError("down")
    opened, items = open_features(lambda: store)
    assert opened is store
    assert len(items.item_ids) > 0


def test_a_store_that_has_no_features_is_one(store):
    store.error = NotReadyError("nothing has been materialised")
    with pytest.raises(NotReadyError, match="materialised"):
        open_features(lambda: store)


def test_an_empty_catalogue_is_named(store, monkeypatch):
    monkeypatch.setattr(store, "table", ItemTable(make_catalogue(0), np.empty(0, dtype=np.int64), "empty"))
    with pytest.raises(NotReadyError, match="catalogue is empty"):
        open_features(lambda: store)


@pytest.mark.parametrize(
    "error",
    [DependencyError("a stage does not answer"), NotReadyError("no model"), DamagedRowError("a column")],
)
def test_a_start_is_settled_once_it_is_ready_or_waiting_will_not_help(error):
    readiness = Readiness(model_versions={}, catalogue_items=1)
    ready = Gateway(recommender=None, intake=None, readiness=lambda: readiness, close=None)

    async def start():
        answers, asked = asyncio.Event(), asyncio.Event()

        async def compose(_metrics):
            asked.set()
            if not answers.is_set():
                raise error
            return ready

        startup = Startup(compose)
        starting = asyncio.create_task(startup.run())
        settled = asyncio.create_task(startup.settled())
        await asyncio.wait_for(asked.wait(), 5.0)
        for _ in range(3):
            await asyncio.sleep(0)
        blocked = settled.done()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        answers.set()
        await startup.run()
        await asyncio.wait_for(settled, 5.0)
        return blocked

    assert asyncio.run(start()) == isinstance(error, PermanentError)
