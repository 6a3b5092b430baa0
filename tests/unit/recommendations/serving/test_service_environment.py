from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from services.recommendations.serving.service_environment import service_environment


@pytest.fixture(scope="module")
def ray_serve_sources() -> str:
    """What Ray Serve's modules say; without importing Ray, which reads its environment then."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "serve" / "_private"
    return "".join(path.read_text() for path in sorted(folder.glob("*.py")))


def test_every_setting_of_ray_serve_is_one_that_ray_serve_reads(tmp_path, ray_serve_sources):
    """A misspelt one would be ignored without a word."""
    with service_environment(tmp_path, haproxy=True):
        names = [name for name in os.environ if name.startswith("RAY_SERVE_")]
    assert len(names) > 10
    assert [name for name in names if f'"{name}"' not in ray_serve_sources] == []


def test_settings_of_others_are_put_aside_and_come_back(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_SERVE_HAPROXY_RETRY_ON", "all-retryable-errors")
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    with service_environment(tmp_path, haproxy=True):
        assert os.environ["RAY_SERVE_HAPROXY_RETRY_ON"] == "conn-failure empty-response"
        assert "RAY_ADDRESS" not in os.environ
    assert os.environ["RAY_SERVE_HAPROXY_RETRY_ON"] == "all-retryable-errors"
    assert os.environ["RAY_ADDRESS"] == "somewhere"
