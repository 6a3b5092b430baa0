"""What people's files look like where the meaning is certain: it is read, and not refused."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.importers import import_movielens, import_neutral
from streamrec.datasets.importers.checks import unit_per_second

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOVIES = "movieId,title,genres\n1,First (1995),Comedy\n2,Second (1996),Drama\n"
MOMENT = 1_706_745_600


def movielens(tmp_path, ratings, *, movies=MOVIES, names=("movies.csv", "ratings.csv"), **options):
    source = tmp_path / "source"
    source.mkdir()
    (source / names[0]).write_text(movies)
    (source / names[1]).write_text("userId,movieId,rating,timestamp\n" + ratings)
    report = import_movielens(source, tmp_path / "out", SilentProgress(), NOW, **options)
    return report, load_dataset(tmp_path / "out").interactions


def neutral(tmp_path, interactions, *, items=None):
    source = tmp_path / "source"
    source.mkdir()
    items = items or {
        "item_id": ["a", "b"],
        "title": ["A", "B"],
        "creator_id": ["c", "c"],
        "creator_language": ["en", "fr"],
        "topics": [["t"], ["t"]],
        "published_at": pa.array([None, None], pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(items), source / "items.parquet")
    if isinstance(interactions, dict):
        pq.write_table(pa.table(interactions), source / "interactions.parquet")
    else:
        interactions(source / "interactions.parquet")
    report = import_neutral(source, tmp_path / "out", SilentProgress(), NOW)
    return report, load_dataset(tmp_path / "out").interactions


def test_whole_numbers_with_a_point_are_ids(tmp_path):
    report, rows = movielens(tmp_path, "1.0,2.0,4.0,964982703.0\n3.50,1,4.0,964982703\n")
    assert rows[["user_id", "item_id"]].to_numpy().tolist() == [["1", "2"]]
    assert report.quarantined == {"not_a_number": 1}  # 3.50 is no whole number


@pytest.mark.parametrize("text", ["2000-07-30 18:45:03", "2000-07-30T18:45:03Z", "2000-07-30T20:45:03+02:00"])
def test_iso_times_are_times(tmp_path, text):
    report, rows = movielens(tmp_path, f'1,1,4.0,"{text}"\n1,2,4.0,yesterday\n')
    assert rows["timestamp"].tolist() == [pd.Timestamp("2000-07-30 18:45:03", tz="UTC")]
    assert report.quarantined == {"not_a_time": 1}


def test_kaggles_names_are_movielens(tmp_path):
    report, _ = movielens(tmp_path, '1,2,3.5,"2005-04-02 23:53:47"\n', names=("movie.csv", "rating.csv"))
    assert report.interactions == 1


def test_ratings_to_ten_are_read_where_that_is_said_and_named_where_not(tmp_path):
    with pytest.raises(DataFolderError, match=r"goes up to 10, and 5 .* --highest-rating 10"):
        movielens(tmp_path, "1,1,10,964982703\n1,2,8,964982703\n")
    (tmp_path / "again").mkdir()
    report, _ = movielens(tmp_path / "again", "1,1,10,964982703\n1,2,8,964982703\n", highest_rating=10.0)
    assert report.interactions == 2


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_the_unit_of_whole_number_times_is_told_by_their_size(tmp_path, factor):
    times = [MOMENT * factor, (MOMENT + 3_600) * factor]
    _, rows = neutral(tmp_path, {"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": times})
    expected = [pd.Timestamp(MOMENT, unit="s", tz="UTC"), pd.Timestamp(MOMENT + 3_600, unit="s", tz="UTC")]
    assert rows["timestamp"].tolist() == expected
    (tmp_path / "csv").mkdir()
    _, rows = movielens(tmp_path / "csv", f"1,1,4.0,{times[0]}\n")
    assert rows["timestamp"].tolist() == expected[:1]


def test_one_absurd_time_changes_nothing_for_the_others(tmp_path):
    times = [MOMENT, MOMENT + 1, MOMENT * 1_000]
    report, rows = neutral(tmp_path, {"user_id": ["u"] * 3, "item_id": ["a", "b", "a"], "timestamp": times})
    assert len(rows) == 2
    assert report.quarantined == {"future_timestamp": 1}
    assert unit_per_second(np.array([])) == 1
    assert unit_per_second(np.array([0.0, -5.0])) == 1


def test_bytes_that_are_text_are_text(tmp_path):
    binary = pa.array([b"u", "é".encode(), b"\xff"], pa.binary())
    report, rows = neutral(
        tmp_path,
        {"user_id": binary, "item_id": pa.array([b"a"] * 3, pa.large_binary()), "timestamp": [MOMENT] * 3},
    )
    assert rows["user_id"].tolist() == ["u", "é"]
    assert report.quarantined == {"invalid_utf8": 1}


def test_a_folder_of_part_files_is_one_file(tmp_path):
    def parts(folder):
        folder.mkdir()
        for number, user in enumerate("uv"):
            table = pa.table({"user_id": [user], "item_id": ["a"], "timestamp": [MOMENT + number]})
            pq.write_table(table, folder / f"part-{number:05d}.snappy.parquet")
        (folder / "_SUCCESS").touch()

    report, rows = neutral(tmp_path, parts)
    assert rows["user_id"].tolist() == ["u", "v"]
    assert report.files[-1].rows_read == 2


def test_parts_that_differ_and_folders_without_any_are_named(tmp_path):
    def different(folder):
        folder.mkdir()
        pq.write_table(pa.table({"user_id": ["u"], "item_id": ["a"], "timestamp": [1]}), folder / "a.parquet")
        pq.write_table(pa.table({"user_id": ["u"]}), folder / "b.parquet")

    with pytest.raises(DataFolderError, match=r"b\.parquet.* other columns than a\.parquet"):
        neutral(tmp_path, different)
    (tmp_path / "again").mkdir()
    with pytest.raises(DataFolderError, match="holds no part file"):
        neutral(tmp_path / "again", lambda folder: folder.mkdir())
