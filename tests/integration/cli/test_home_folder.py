"""A workspace holds all that is written, and names no folder: whatever HOME is, and after it was moved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

USERS, ITEMS = 30, 40
BRIEF_TRAINING = """
from dataclasses import replace
from services.cli.main import main
from services.recommendations.jobs.training import TrainingSettings
full = TrainingSettings()
brief = replace(
    full,
    retrieval=replace(
        full.retrieval, dimension=16, epoch_count=1, uniform_negative_count=32, hard_negative_count=0
    ),
    cold_start=replace(full.cold_start, hierarchy_dimensions=1, tune=150, draws=500, chains=2),
)
TrainingSettings.quick = staticmethod(lambda: brief)
main()
"""
"""The command line itself, with settings for which some seconds are enough."""


def write_data(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = [
        (f"u{user:02}", f"i{(3 * user + step) % ITEMS:02}", 1_700_000_000 + 60 * step)
        for user in range(USERS)
        for step in range(12)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "second"])
    frame["timestamp"] = pd.to_datetime(frame.pop("second"), unit="s", utc=True)
    frame.to_parquet(folder / "interactions.parquet")
    items = pd.DataFrame(
        {"item_id": [f"i{item:02}" for item in range(ITEMS)], "title": "", "creator_language": "en"}
    )
    items["creator_id"] = [f"c{item % 5}" for item in range(ITEMS)]
    items["topics"] = [[f"t{item % 3}"] for item in range(ITEMS)]
    items["published_at"] = pd.Timestamp("2023-01-01", tz="UTC")
    items.to_parquet(folder / "items.parquet")


def run(root: Path, home: str, *arguments: str) -> str:
    """Run a command on the workspace below ``root`` and return what it printed; it must end well."""
    steering = ("XDG_", "MPL", "PYTENSOR", "STREAMREC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    temporary = root.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", BRIEF_TRAINING, *arguments, "--workspace", str(root)],
        env={**environment, "HOME": home, "TMPDIR": str(temporary)},
        cwd=temporary,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert list(temporary.iterdir()) == []
    return done.stdout


def naming(root: Path, path: Path) -> list[str]:
    """The files below ``root`` that hold the name of ``path``; compiled code apart."""
    name = str(path).encode()
    found = []
    for file in set(root.rglob("*")) - set((root / "library_caches").rglob("*")):
        content = (
            os.fsencode(file.readlink())
            if file.is_symlink()
            else file.read_bytes()
            if file.is_file()
            else b""
        )
        if name in content:
            found.append(str(file.relative_to(root)))
    return found


TRAIN = ("recommendations", "train", "cold-start", "--effort", "quick", "--data")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A workspace of an account whose home folder cannot be made."""
    root = tmp_path_factory.mktemp("account") / "a"
    write_data(root / "data" / "mine")
    run(root, "/proc/none", *TRAIN, str(root / "data" / "mine"))
    return root


@pytest.mark.slow
def test_without_a_usable_home_everything_goes_into_the_workspace(trained):
    assert (trained / "library_caches" / "pytensor").is_dir()
    assert sorted(path.name for path in trained.parent.iterdir()) == ["a", "temporary"]


@pytest.mark.slow
def test_a_workspace_that_was_moved_goes_on_and_nothing_comes_back_where_it_was(trained, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(trained, before, symlinks=True)
    run(before, str(home), "features", "materialize", "--data", str(before / "data" / "mine"))
    promoted = ("recommendations-retrieval@1", "recommendations-cold-start@1")
    run(before, str(home), "models", "promote", *promoted)
    run(before, str(home), "items", "put", "--id", "new-1")
    assert naming(before, before) == []
    assert naming(before, trained) == []
    before.rename(after)
    shutil.rmtree(after / "library_caches")
    shutil.rmtree(after / "registry" / "cache")

    assert "recommendations-cold-start@1" in run(after, str(home), "models", "serving")
    assert "# " in run(after, str(home), "models", "card", "recommendations-cold-start")
    run(after, str(home), "items", "put", "--id", "new-2")
    assert not before.exists()
    assert list(home.iterdir()) == []
