"""A registry of made versions, and what a specification may need of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from streamrec.contracts.models import ModelRef, ModelSignature, ModelSpec, TensorSpec
from streamrec.contracts.specification.model_specification import ModelSpecification
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


@pytest.fixture
def wanting():
    """A specification that needs other models, by role."""

    def specification(**needs: str) -> ModelSpecification:
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

    return specification
