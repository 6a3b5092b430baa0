"""A workspace holds all that is written, and names no folder: whatever HOME is, and after it was moved."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.integration.cli.commands import files_naming, run

USERS, ITEMS = 12, 30


def write_data(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = [
        (f"u{user:02}", f"i{(3 * user + step) % ITEMS:02}", 1_700_000_000 + 60 * step)
        for user in range(USERS)
        for step in range(8)
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


@pytest.fixture
def home(tmp_path):
    """A home folder that must stay empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def test_what_libraries_compile_goes_into_the_workspace_where_there_is_no_home_folder(tmp_path):
    # No folder can be made there, by root neither.
    run(tmp_path / "workspace", "/proc/none", "compile", "items put --id new-1")
    assert list((tmp_path / "workspace" / "library_caches" / "pytensor").rglob("*.so"))
    assert [path.name for path in tmp_path.iterdir()] == ["workspace"]


@pytest.mark.slow
def test_a_workspace_goes_on_after_it_was_moved_and_nothing_is_written_elsewhere(tmp_path, home):
    before, after = tmp_path / "before", tmp_path / "after"
    write_data(before / "data" / "mine")
    train = "recommendations train retrieval --effort quick --seed"
    out = run(
        before,
        str(home),
        "items put --id new-1",
        f"{train} 1",
        f"{train} 2",
        "models promote recommendations-retrieval@2 --break-glass --reason test",
        f"features materialize --data {before}/data/mine",
        f"move {after}",
        f"{train} 1",
        "models list",
        "models card recommendations-retrieval",
        "models rollback recommendations.retrieval --reason test",
        "models promote recommendations-retrieval@1 --break-glass --reason test",
        "models serving",
        "items put --id new-2",
        "data erase --user u03",
        f"features materialize --data {after}/data/mine",
    )
    again = out.split("$ move")[1]
    assert "reusing recommendations-retrieval@1" in again
    assert "recommendations-retrieval@1" in again.split("$ models serving")[1].split("$")[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after", "home"]
    assert files_naming(after, before) == []
    assert files_naming(after, after) == []
