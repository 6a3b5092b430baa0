from __future__ import annotations

import pandas as pd
import pytest

from services.cli.demo.source import hold_out_last, import_source
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset


def write_neutral(folder, users=3, items=6):
    folder.mkdir()
    rows = [
        (f"u{user}", f"i{(user + step) % items}", pd.Timestamp(1_000 * user + step, unit="s", tz="UTC"))
        for user in range(users)
        for step in range(user + 1)
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_parquet(
        folder / "interactions.parquet"
    )
    pd.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(items)],
            "title": ["t"] * items,
            "creator_id": ["c"] * items,
            "creator_language": ["en"] * items,
            "topics": [["x"]] * items,
            "published_at": pd.Series([pd.NaT] * items, dtype="datetime64[ns, UTC]"),
        }
    ).to_parquet(folder / "items.parquet")


def test_serving_knows_all_but_the_test_items(tmp_path):
    write_neutral(tmp_path / "data")
    history, held_out = hold_out_last(load_dataset(tmp_path / "data"))
    # u0 has one interaction and u1 two: too few to be evaluated, so serving knows them whole.
    assert held_out == {"u2": "i4"}
    items = {user: history.of(row).tolist() for row, user in enumerate(history.user_ids)}
    assert items == {"u0": [0], "u1": [1, 2], "u2": [2, 3]}


def test_a_movielens_folder_is_recognised(tmp_path):
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,10,4.0,1000\n1,11,nonsense,1001\n2,10,3.5,1002\n"
    )
    (folder / "movies.csv").write_text("movieId,title,genres\n10,Ten (1999),Drama\n11,Eleven (2000),Comedy\n")
    prepared = import_source(folder, tmp_path / "out", SilentProgress())
    assert prepared.kind == "movielens"
    assert prepared.name == "ml"
    ratings = next(row for row in prepared.files if row["name"] == "ratings.csv")
    assert (ratings["read"], ratings["kept"], ratings["quarantined"]) == (3, 2, 1)
    assert sum(ratings["reasons"].values()) == 1


def test_a_folder_of_anything_else_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataFolderError, match="nowhere"):
        import_source(tmp_path / "nowhere", tmp_path / "out", SilentProgress())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFolderError):
        import_source(tmp_path / "empty", tmp_path / "out", SilentProgress())
