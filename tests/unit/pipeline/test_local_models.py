from __future__ import annotations

import pytest

from services.recommendations.pipeline import local_models
from services.recommendations.reranking.model import DiversityReranker


@pytest.mark.parametrize("fallback_mode", [False, True])
def test_what_is_computed_offline_is_not_cut_off_by_the_clock(tmp_path, monkeypatch, fallback_mode):
    served = DiversityReranker(language_of={"a": "en"}, latency_budget_ms=1.0, fallback_mode=fallback_mode)
    served.save(tmp_path)

    class Registry:
        def fetch(self, _version):
            return tmp_path

    monkeypatch.setattr(local_models, "_load", lambda _registry, _versions, reranking: reranking)
    loaded = local_models.load_models(Registry(), {"reranking": "a version"})
    assert loaded.latency_budget_ms > 1_000_000.0
    assert not loaded.skips(10_000_000.0)
