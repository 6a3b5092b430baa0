"""Whom `serve` lets in, decided before anything is started."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from services.recommendations.commands.serve import _caller_settings
from streamrec.callers.callers_file import CallersFile
from streamrec.callers.settings import CallerSettings
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.callers import CallerLimit
from streamrec.contracts.errors import DocumentRefusedError, NotFoundError

LIMIT = CallerLimit(requests_per_s=5.0, burst=5, maximum_in_flight=None)


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def added(place):
    CallersFile(place.callers).add("spoke", None, datetime.now(UTC), timedelta(days=1))


def test_everybody_may_ask_by_default(place, capsys):
    assert _caller_settings(place, None, None) == CallerSettings()
    assert _caller_settings(place, None, LIMIT) == CallerSettings(anonymous_limit=LIMIT)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("added")
def test_a_file_that_is_not_named_does_not_count_and_that_is_said(place, capsys):
    assert _caller_settings(place, None, None) == CallerSettings()
    assert f"--callers {place.callers}" in capsys.readouterr().err


@pytest.mark.usefixtures("added")
def test_a_file_that_is_named_counts_and_holds_the_limits(place):
    assert _caller_settings(place, place.callers, None) == CallerSettings(file=place.callers)
    with pytest.raises(typer.BadParameter, match="streamrec callers limit"):
        _caller_settings(place, place.callers, LIMIT)


def test_a_file_that_cannot_be_used_ends_the_start(place):
    with pytest.raises(NotFoundError, match="streamrec callers add"):
        _caller_settings(place, place.callers, None)
    place.callers.write_bytes(b"{")
    place.callers.chmod(0o600)
    with pytest.raises(DocumentRefusedError, match="damaged"):
        _caller_settings(place, place.callers, None)
