from __future__ import annotations

import numpy as np
import pytest

from services.recommendations.gateway.readiness import open_features
from streamrec.contracts.errors import DependencyError, NotReadyError
from streamrec.features.store import ItemTable
from tests.unit.pipeline.conftest import make_catalogue


def test_a_store_that_does_not_answer_yet_is_no_reason_not_to_serve(store):
    store.error = DependencyError("down")
    opened, items = open_features(lambda: store)
    assert opened is store
    assert len(items.catalogue) > 0


def test_a_store_that_has_no_features_is_one(store):
    store.error = NotReadyError("nothing has been materialised")
    with pytest.raises(NotReadyError, match="materialised"):
        open_features(lambda: store)


def test_an_empty_catalogue_is_named(store, monkeypatch):
    empty = ItemTable(make_catalogue(0), np.empty(0, dtype=np.int64), "empty")
    monkeypatch.setattr(store, "item_table", lambda: empty)
    with pytest.raises(NotReadyError, match="catalogue is empty"):
        open_features(lambda: store)
