from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.exposure_control.file_price_source import FilePricePublisher
from services.recommendations.exposure_control.price_document import PriceDocument
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.serving.stage_deployments import RerankingDeployment
from streamrec.contracts.models import CHAMPION, ModelSignature, ModelSpec, TensorSpec
from streamrec.registry.memory_registry import MemoryModelRegistry

NAME = "recommendations-reranking"
ITEMS = tuple(f"i{row}" for row in range(60))
LANGUAGE_OF = {item: ("en", "de", "sw")[row % 3] for row, item in enumerate(ITEMS)}
USER = UserState("u", history=ITEMS[:3])
CANDIDATES = Candidates.from_scores(ITEMS, -np.arange(60.0) / 20.0)


@pytest.fixture
def source(tmp_path):
    DiversityReranker(language_of=LANGUAGE_OF, language_prices={}).save(tmp_path / "artifact")
    registry = MemoryModelRegistry(tmp_path / "cache")
    tensor = TensorSpec("scores", "float32", (-1,))
    spec = ModelSpec(NAME, ModelSignature((tensor,), (tensor,)), "data", "settings")
    registry.set_alias(registry.register(spec, tmp_path / "artifact").ref, CHAMPION)
    return SimpleNamespace(open=lambda: registry)


def ask(replica):
    reply = asyncio.run(replica.rerank(CANDIDATES, USER, 0.0, 10))
    return reply, [LANGUAGE_OF[item] for item in reply.candidates.item_ids[:10]]


def test_without_a_controller_the_models_own_prices_serve(source, tmp_path):
    for price_file in (None, tmp_path / "nothing.json"):
        reply, languages = ask(RerankingDeployment(source, NAME, price_file))
        assert (reply.version, reply.price_revision) == (1, 0)
        assert languages == [LANGUAGE_OF[item] for item in ITEMS[:10]]


def test_published_prices_serve_and_the_reply_says_which(source, tmp_path):
    path = tmp_path / "prices.json"
    now = datetime(2026, 11, 21, tzinfo=UTC)
    FilePricePublisher(path).publish(PriceDocument(7, now, 0.3, 0.01, {}, {"sw": 0.5}))
    reply, languages = ask(RerankingDeployment(source, NAME, path))
    assert (reply.version, reply.price_revision) == (1, 7)
    assert languages == ["sw"] * 10
