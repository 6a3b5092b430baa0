"""When a kept workspace is used again; how one is made is an integration test."""

from __future__ import annotations

import pytest

from services.recommendations.load_tests import workspace
from services.recommendations.load_tests.workspace import MADE_FILE, made_workspace
from services.recommendations.load_tests.world_settings import WorldSettings
from streamrec.contracts.progress import SilentProgress

WORLD = WorldSettings(item_count=400, user_count=10)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Makes the workspace, or finds it, with an empty folder in place of what takes seconds."""

    def run(making) -> None:
        making.workspace.root.mkdir(parents=True)

    monkeypatch.setattr(workspace._Making, "run", run)
    return lambda: made_workspace(tmp_path, WORLD, SilentProgress())


def test_a_finished_workspace_is_used_again(made) -> None:
    first = made()
    (first.workspace.root / "kept").touch()
    again = made()
    assert again.workspace == first.workspace
    assert again.made_s == 0.0
    assert (again.workspace.root / "kept").exists()


def test_one_that_was_cut_off_is_made_anew(made) -> None:
    root = made().workspace.root
    (root / MADE_FILE).unlink()
    (root / "half").touch()
    assert made().made_s > 0.0
    assert not (root / "half").exists()


def test_one_that_other_code_wrote_is_made_anew(made, monkeypatch) -> None:
    root = made().workspace.root
    (root / "old").touch()
    monkeypatch.setattr(workspace, "_code_digest", lambda: "other code")
    assert made().made_s > 0.0
    assert not (root / "old").exists()
    assert made().made_s == 0.0


def test_every_room_whose_format_matters_is_part_of_the_codes_digest(monkeypatch) -> None:
    whole = workspace._code_digest()
    assert whole == workspace._code_digest()
    for room in workspace._WRITING_ROOMS:
        others = tuple(other for other in workspace._WRITING_ROOMS if other is not room)
        with monkeypatch.context() as context:
            context.setattr(workspace, "_WRITING_ROOMS", others)
            assert workspace._code_digest() != whole
