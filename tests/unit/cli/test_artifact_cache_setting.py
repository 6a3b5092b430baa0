"""The bound of the artifact cache comes from the environment."""

from __future__ import annotations

import pytest

from streamrec.command_line.composition import ARTIFACT_CACHE_VARIABLE, registry_settings
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import InvalidInputError
from streamrec.registry.artifact_cache import DEFAULT_MAXIMUM_BYTES


def test_the_bound_is_read_and_has_a_default(tmp_path, monkeypatch):
    monkeypatch.delenv(ARTIFACT_CACHE_VARIABLE, raising=False)
    assert registry_settings(Workspace(tmp_path)).cache_maximum_bytes == DEFAULT_MAXIMUM_BYTES
    monkeypatch.setenv(ARTIFACT_CACHE_VARIABLE, "5000000000")
    assert registry_settings(Workspace(tmp_path)).cache_maximum_bytes == 5_000_000_000


@pytest.mark.parametrize("text", ["", "0", "-1", "5G", "1e9", " 5", "\u0665", "9" * 30])
def test_what_is_no_number_of_bytes_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv(ARTIFACT_CACHE_VARIABLE, text)
    with pytest.raises(InvalidInputError, match="STREAMREC_ARTIFACT_CACHE_BYTES"):
        registry_settings(Workspace(tmp_path))
