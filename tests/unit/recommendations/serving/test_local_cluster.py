"""The service's own folder is one in which its sockets can be made."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from services.recommendations.serving import local_cluster
from services.recommendations.serving.local_cluster import _own_folder
from streamrec.contracts.errors import DependencyError


def test_a_temporary_folder_with_a_long_name_is_passed_over(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = _own_folder()
    try:
        assert folder.parent == Path("/tmp")
        assert list(long.iterdir()) == []
    finally:
        folder.rmdir()


def test_the_sockets_of_haproxy_fit_too(monkeypatch):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as longer:
        monkeypatch.setattr("tempfile.tempdir", longer)
        folder = _own_folder()
    node = "0" * 56  # Ray's name of a node
    folder.rmdir()
    assert len(str(folder / node / "metrics.sock")) <= 97


def test_without_a_folder_that_fits_it_says_so_in_one_sentence(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    monkeypatch.setattr(local_cluster.os, "access", lambda *_: False)
    with pytest.raises(DependencyError, match=r"too long for the sockets .* TMPDIR") as refused:
        _own_folder()
    assert str(long) in str(refused.value)


def test_the_usual_folder_is_taken_where_it_fits(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/dev/shm")
    folder = _own_folder()
    assert folder.parent == Path("/dev/shm")
    folder.rmdir()
