"""The small world of the retrieval's unit tests."""

from __future__ import annotations

from tests.unit.retrieval.conftest import settings, training

__all__ = ["settings", "training"]
