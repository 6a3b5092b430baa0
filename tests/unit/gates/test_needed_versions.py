from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.gates.needed_versions import needed_versions
from streamrec.registry.memory_registry import MemoryModelRegistry

TENSOR = TensorSpec("x", "float32", (1,))


@pytest.fixture
def registered(tmp_path):
    """Registers a version of a name, an hour after the one before; returns it, and the registry."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    np.savez(folder / "weights.npz", table=np.zeros(1))
    hours = iter(range(100))
    clock = lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=next(hours))  # noqa: E731
    registry = MemoryModelRegistry(tmp_path / "cache", clock)

    def register(name: str, **depends_on: ModelRef):
        signature = ModelSignature((TENSOR,), (TENSOR,))
        return registry.register(ModelSpec(name, signature, "d", "s", depends_on=depends_on), folder)

    return registry, register


def wanting(**needs: str) -> ModelSpecification:
    return ModelSpecification.from_json(
        {
            "schema": "streamrec.model_specification.v1",
            "name": "shop-ranking",
            "owner": "shop",
            "slot": "shop.ranking",
            "task": "ranking",
            "predictor": "shop:load",
            "evaluation": {"requests": "requests.parquet"},
            "no_sensitive_attributes": "made up",
            "needs": needs,
        }
    )


def test_the_newest_of_before_is_taken_and_not_one_that_came_later(registered):
    registry, register = registered
    register("shop-retrieval")
    second = register("shop-retrieval")
    ranking = register("shop-ranking")
    register("shop-retrieval")
    assert needed_versions(wanting(candidates="shop-retrieval"), ranking, registry) == {"candidates": second}


def test_what_a_version_depends_on_comes_before_what_its_specification_names(registered):
    registry, register = registered
    first = register("shop-retrieval")
    register("shop-retrieval")
    ranking = register("shop-ranking", candidates=first.ref)
    assert needed_versions(wanting(candidates="shop-retrieval"), ranking, registry) == {"candidates": first}
    assert needed_versions(wanting(), ranking, registry) == {"candidates": first}


def test_a_model_that_is_not_there_is_named_with_what_to_do(registered):
    registry, register = registered
    ranking = register("shop-ranking")
    register("shop-retrieval")
    with pytest.raises(NotFoundError, match="register shop-retrieval first, then shop-ranking again"):
        needed_versions(wanting(candidates="shop-retrieval"), ranking, registry)
