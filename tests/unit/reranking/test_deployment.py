from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.contracts.stages import RERANKING, SLOTS
from services.recommendations.exposure_control.exposure_prices import ExposurePrices
from services.recommendations.exposure_control.price_files import PriceFiles, open_price_publisher
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.serving.model_source import ModelSource
from services.recommendations.serving.stage_replicas import RerankingReplica
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.memory_registry import MemoryModelRegistry
from streamrec.registry.mlflow_registry import RegistrySettings
from tests.promoted import promote, traffic_files

NAME = "recommendations-reranking"
ITEMS = tuple(f"i{row}" for row in range(60))
LANGUAGE_OF = {item: ("en", "de", "sw")[row % 3] for row, item in enumerate(ITEMS)}
USER = UserState("u", history=ITEMS[:3])
CANDIDATES = Candidates.from_scores(ITEMS, -np.arange(60.0) / 20.0)


@pytest.fixture
def source(tmp_path):
    DiversityReranker(language_of=LANGUAGE_OF, exposure_prices={}).save(tmp_path / "artifact")
    registry = MemoryModelRegistry(tmp_path / "registry" / "cache")
    tensor = TensorSpec("scores", "float32", (-1,))
    spec = ModelSpec(NAME, ModelSignature((tensor,), (tensor,)), "data", "settings", slot=SLOTS[RERANKING])
    promote(tmp_path, registry, registry.register(spec, tmp_path / "artifact").ref)
    return ModelSource(RegistrySettings.embedded(tmp_path / "registry"), traffic_files(tmp_path))


def files_in(folder):
    return PriceFiles(folder / "prices.json", folder / "prices.last_good.json", folder / "keys" / "public")


def ask(replica):
    reply = asyncio.run(replica.rerank(CANDIDATES, USER, 0.0, 10, 1))
    return reply, [LANGUAGE_OF[item] for item in reply.candidates.item_ids[:10]]


def test_without_a_controller_the_models_own_prices_serve(source, tmp_path):
    for price_files in (None, files_in(tmp_path)):
        reply, languages = ask(RerankingReplica(source, price_files=price_files))
        assert (reply.version, reply.price_revision) == (1, 0)
        assert languages == [LANGUAGE_OF[item] for item in ITEMS[:10]]


def test_published_prices_serve_and_the_reply_says_which(source, tmp_path):
    files = files_in(tmp_path)
    prices = ExposurePrices(datetime(2026, 11, 21, tzinfo=UTC), 0.3, 0.01, {}, {"sw": 0.5})
    publisher = open_price_publisher(files.document, tmp_path / "keys")
    revision = publisher.publish(prices.to_body(), expected_revision=0).revision
    sent = pickle.loads(pickle.dumps(files))  # as it reaches a replica's process
    reply, languages = ask(RerankingReplica(source, price_files=sent))
    assert (reply.version, reply.price_revision) == (1, revision)
    assert languages == ["sw"] * 10
