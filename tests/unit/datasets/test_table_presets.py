"""Files in the layouts of well-known data sets: quotes, gaps, variants, compression."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.datasets.dataset import Dataset, load_dataset


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    content = text.encode()
    if name.endswith(".zst"):
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(content)
    else:
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def imported(path: Path, preset: str, *options: str) -> Dataset:
    output = path.parent / "out"
    arguments = ["data", "import", "table", str(path), "--preset", preset, "--output", str(output)]
    done = CliRunner().invoke(app, [*arguments, *options])
    assert done.exit_code == 0, done.output
    return load_dataset(output)


def rows(dataset: Dataset) -> list[list[Any]]:
    frame = dataset.interactions.assign(timestamp=dataset.interactions["timestamp"].astype(str).str[:19])
    names = [name for name in ("user_id", "item_id", "timestamp", "rating") if name in frame]
    return frame[names].to_numpy().tolist()


def reasons(folder: Path) -> list[tuple[str, int, str]]:
    found = pq.read_table(folder / "out" / "quarantine.parquet").to_pylist()
    return [(row["source_file"], row["line"], row["reason"]) for row in found]


def test_recbole_with_items_and_users(tmp_path: Path):
    inter = written(
        tmp_path,
        "ml-100k.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "196\t242\t3\t881250949\n186\t302\t3.5\t891717742.0\n22\t242\t\t878887116\n",
    )
    items = written(
        tmp_path,
        "ml-100k.item",
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '242\tKolya "The Boy"\t1996\tComedy Drama\n302\tL.A. Confidential\t1997\tCrime\n',
    )
    users = written(
        tmp_path,
        "ml-100k.user",
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n196\t49\tM\twriter\t55105\n",
    )
    dataset = imported(inter, "recbole", "--items", str(items), "--users", str(users))
    assert rows(dataset) == [
        ["22", "242", "1997-11-07 07:18:36", pytest.approx(float("nan"), nan_ok=True)],
        ["196", "242", "1997-12-04 15:55:49", 3.0],
        ["186", "302", "1998-04-04 19:22:22", 3.5],
    ]
    assert dataset.catalogue.titles == ('Kolya "The Boy"', "L.A. Confidential")
    assert dataset.catalogue.topics == (("Comedy", "Drama"), ("Crime",))
    assert [str(day)[:10] for day in dataset.catalogue.published_at] == ["1996-01-01", "1997-01-01"]


def test_recbole_without_times_and_with_another_name_of_the_item(tmp_path: Path):
    inter = written(tmp_path, "lastfm.inter", "user_id:token\tartist_id:token\tweight:float\n2\t51\t13883\n")
    items = written(tmp_path, "lastfm.item", "artist_id:token\tname:token_seq\n51\tDuran Duran\n")
    dataset = imported(inter, "recbole", "--items", str(items), "--time", "2011-05-01")
    assert rows(dataset) == [["2", "51", "2011-05-01 00:00:00"]]
    assert dataset.catalogue.titles == ("Duran Duran",)


def json_lines(*documents: dict[str, Any]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def test_amazon_of_2014_and_2018(tmp_path: Path):
    review = {
        "reviewerID": "A2SUAM1J3GNN3B",
        "asin": "0000013714",
        "reviewerName": 'J. "Mac" McDonald',
        "helpful": [2, 3],
        "reviewText": "I bought this\tfor my husband.\nHe plays the piano.",
        "overall": 5.0,
        "unixReviewTime": 1252800000,
        "reviewTime": "09 13, 2009",
    }
    later = {
        "overall": 4.0,
        "verified": True,
        "reviewerID": "A3",
        "asin": "B017O9P72A",
        "style": {"Size:": " L"},
    }
    text = json_lines(
        review, later | {"unixReviewTime": 1449792000}, later | {"asin": None, "unixReviewTime": 1}
    )
    items = json_lines(
        {"asin": "0000013714", "title": "Hymns", "brand": "Alfred", "categories": [["Books", "Music"]]},
        {"asin": "B017O9P72A", "category": ["Shirts"], "price": "$9.99"},
    )
    path = written(tmp_path, "reviews_Books_5.json.gz", text)
    dataset = imported(path, "amazon", "--items", str(written(tmp_path, "meta.json.gz", items)))
    assert rows(dataset) == [
        ["A2SUAM1J3GNN3B", "0000013714", "2009-09-13 00:00:00", 5.0],
        ["A3", "B017O9P72A", "2015-12-11 00:00:00", 4.0],
    ]
    assert reasons(tmp_path) == [("reviews_Books_5.json.gz", 3, "missing_field")]
    catalogue = dataset.catalogue
    assert (catalogue.titles, catalogue.creator_ids) == (("Hymns", ""), ("Alfred", "unknown"))
    assert catalogue.topics[0] == ("Books", "Music")


def test_amazon_of_2023(tmp_path: Path):
    review = {
        "rating": 5.0,
        "title": "Such a lovely scent but not overpowering.",
        "images": [],
        "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8EX",
        "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "timestamp": 1588687728923,
        "verified_purchase": True,
    }
    item = {
        "main_category": "All Beauty",
        "title": "Spray",
        "store": "Herbivore",
        "parent_asin": "B00YQ6X8EX",
    }
    items = json_lines(item | {"categories": ["Hair", "Sprays"], "details": {"UPC": "1"}})
    path = written(tmp_path, "All_Beauty.jsonl.zst", json_lines(review))
    dataset = imported(path, "amazon", "--items", str(written(tmp_path, "meta_All_Beauty.jsonl", items)))
    assert rows(dataset) == [
        ["AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B00YQ6X8EX", "2020-05-05 14:08:48", 5.0],
    ]
    assert dataset.catalogue.creator_ids == ("Herbivore",)
    assert dataset.catalogue.topics == (("Hair", "Sprays"),)


def test_amazon_ratings_alone_have_no_header(tmp_path: Path):
    path = written(tmp_path, "ratings_Books.csv", "AH2L9G3DQHHAJ,0000000116,4.0,1019865600\n")
    dataset = imported(path, "amazon", "--columns", "user_id,item_id,rating,timestamp")
    assert rows(dataset) == [["AH2L9G3DQHHAJ", "0000000116", "2002-04-27 00:00:00", 4.0]]


def test_movielens_as_kaggle_has_it(tmp_path: Path):
    header = '"userId","movieId","rating","timestamp"\r\n'
    text = (
        header
        + '1,2,3.5,"2005-04-02 23:53:47"\r\n1,29,3.5,"2005-04-02 23:31:16"\r\n2,2,,"2005-04-02 23:33:39"\r\n'
    )
    movies = (
        '"movieId","title","genres"\r\n2,"Jumanji (1995)","Adventure|Children"\r\n'
        '29,"City of Lost Children, The ""Cité"" (1995)","(no genres listed)"\r\n'
    )
    items = written(tmp_path, "movie.csv", movies)
    dataset = imported(written(tmp_path, "rating.csv.gz", text), "kaggle-movielens", "--items", str(items))
    assert [row[:3] for row in rows(dataset)] == [
        ["1", "29", "2005-04-02 23:31:16"],
        ["2", "2", "2005-04-02 23:33:39"],
        ["1", "2", "2005-04-02 23:53:47"],
    ]
    assert dataset.catalogue.titles[1] == 'City of Lost Children, The "Cité" (1995)'
    assert dataset.catalogue.topics == (("Adventure", "Children"), ())


def test_lastfm_of_1000_users(tmp_path: Path):
    plays = (
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me Im Famous\n"
        'user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t坂本龍一 "live"\t7e93\tComposition 0919\n'
    )
    profiles = "#id\tgender\tage\tcountry\tregistered\nuser_000001\tm\t\tJapan\tAug 13, 2006\n"
    users = written(tmp_path, "userid-profile.tsv", profiles)
    path = written(tmp_path, "userid-timestamp-artid-artname-traid-traname.tsv", plays)
    dataset = imported(path, "lastfm", "--users", str(users))
    assert rows(dataset) == [["user_000001", "7e93", "2009-05-04 13:54:10"]]
    assert reasons(tmp_path) == [(path.name, 1, "missing_field")]  # a track that MusicBrainz does not know
    assert dataset.users["country"].tolist() == ["Japan"]
    by_name = imported(path, "lastfm", "--map", "item_id=track_name")
    assert [row[1] for row in rows(by_name)] == ["Composition 0919", "Fuck Me Im Famous"]


def test_lastfm_of_360000_users(tmp_path: Path):
    user = "00000c289a1829a808ac09c00daf10bc3c4e223b"
    plays = f"{user}\t3bd73256\tbetty blowtorch\t2137\n{user}\t\tdie Ärzte\t1099\n"
    users = written(tmp_path, "usersha1-profile.tsv", f"{user}\tf\t22\tGermany\tFeb 1, 2007\n")
    path = written(tmp_path, "usersha1-artmbid-artname-plays.tsv", plays)
    dataset = imported(path, "lastfm-360k", "--users", str(users), "--time", "2008-09-01T00:00:00Z")
    assert rows(dataset) == [[user, "3bd73256", "2008-09-01 00:00:00"]]
    assert dataset.users["country"].tolist() == ["Germany"]
    assert reasons(tmp_path) == [(path.name, 2, "missing_field")]
