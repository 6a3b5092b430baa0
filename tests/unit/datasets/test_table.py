"""The importer of anybody's table."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.datasets.dataset import load_dataset

ROWS = [("u1", "a", 1_700_000_000, "4.5", "Buy"), ("u2", "b", 1_700_000_000_000, "x", "hover")]
NAMES = ("who", "what", "when", "stars", "did")
MAP = "user_id=who,item_id=what,timestamp=when,rating=stars,event=did"


def written(folder: Path, form: str) -> Path:
    path = folder / f"in.{form}"
    separator = "\t" if form.startswith("tsv") else ","
    lines = [separator.join(map(str, row)) for row in (NAMES, *ROWS)]
    text = ("\n".join(lines) + "\n").encode()
    if form.startswith("jsonl"):
        text = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS).encode()
    if form == "parquet":
        columns = zip(*ROWS, strict=True)
        pq.write_table(
            pa.table({name: list(values) for name, values in zip(NAMES, columns, strict=True)}), path
        )
        return path
    pack = {"gz": gzip.compress, "bz2": bz2.compress}
    ending = form.rpartition(".")[2]
    if ending == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(text)
    else:
        path.write_bytes(pack[ending](text) if ending in pack else text)
    return path


def run(path: Path, output: Path, *options: str) -> str:
    done = CliRunner().invoke(
        app, ["data", "import", "table", str(path), "--output", str(output), "--map", MAP, *options]
    )
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    "form", ["csv", "csv.gz", "csv.zst", "tsv", "tsv.bz2", "jsonl", "jsonl.gz", "parquet"]
)
def test_every_format_gives_the_same_rows_and_quarantine(tmp_path: Path, form: str):
    run(written(tmp_path, form), tmp_path / "out", "--json", str(tmp_path / "r.json"))
    rows = load_dataset(tmp_path / "out").interactions
    assert rows[["user_id", "item_id", "rating", "event"]].to_numpy().tolist() == [
        ["u1", "a", 4.5, "complete"]
    ]
    assert str(rows["timestamp"][0]) == "2023-11-14 22:13:20+00:00"
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["schema"] == "streamrec.data_import.v1"
    assert document["files"][0]["file"] == f"in.{form}"
    assert document["files"][0]["quarantined"] == {"not_a_number": 1}


def test_a_malformed_line_is_quarantined_and_a_foreign_word_can_be_mapped(tmp_path: Path):
    path = tmp_path / "in.csv"
    path.write_text("who,what,when,stars,did\nu,a,2024-01-01,1,Hover\nu,a\nv,,2024-01-01,1,like\n")
    run(path, tmp_path / "out", "--kind-map", "hover=click")
    assert load_dataset(tmp_path / "out").interactions["event"].tolist() == ["click"]
    reasons = pq.read_table(tmp_path / "out" / "quarantine.parquet")["reason"].to_pylist()
    assert sorted(reasons) == ["missing_field", "wrong_column_count"]


def test_items_bring_their_attributes_and_a_dry_run_writes_nothing(tmp_path: Path):
    items = tmp_path / "items.csv"
    items.write_text("asin,title,topics\na,One,Drama|War\nb,Two,\n")
    options = ("--items", str(items), "--map", MAP + ",items.item_id=asin")
    shown = run(written(tmp_path, "csv"), tmp_path / "out", *options, "--dry-run")
    assert "One" in shown
    assert not (tmp_path / "out").exists()
    run(written(tmp_path, "csv"), tmp_path / "out", *options)
    catalogue = load_dataset(tmp_path / "out").catalogue
    assert (catalogue.titles, catalogue.topics) == (("One", "Two"), (("Drama", "War"), ()))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path):
    done = CliRunner().invoke(
        app, ["data", "import", "table", str(written(tmp_path, "csv")), "--output", str(tmp_path / "out")]
    )
    assert done.exit_code != 0
    assert "who, what, when" in done.output


PRESETS = {
    "recbole": (
        "ml.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t3\t881250949.0\n",
    ),
    "amazon": (
        "r.jsonl",
        '{"reviewerID": "u", "asin": "a", "overall": 3.0, "unixReviewTime": 881250949, "summary": "x"}\n',
    ),
    "kaggle-movielens": ("rating.csv", 'userId,movieId,rating,timestamp\nu,a,3,"1997-12-04 15:55:49"\n'),
    "lastfm": ("plays.tsv", "u\t1997-12-04T15:55:49Z\tx\tX\ta\tA\n"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_knows_the_columns_of_its_data_set(tmp_path: Path, preset: str):
    name, text = PRESETS[preset]
    (tmp_path / name).write_text(text)
    arguments = ["data", "import", "table", str(tmp_path / name), "--preset", preset]
    done = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    row = load_dataset(tmp_path / "out").interactions.iloc[0]
    assert (row["user_id"], row["item_id"]) == ("u", "a")
    assert str(row["timestamp"]) == "1997-12-04 15:55:49+00:00"


@pytest.mark.parametrize(("option", "value"), [("--encoding", "nonsense"), ("--delimiter", "ab")])
def test_a_wrong_option_is_one_sentence(tmp_path: Path, option: str, value: str):
    arguments = ["data", "import", "table", str(written(tmp_path, "csv")), "--map", MAP, option, value]
    done = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "deep" / "out")])
    assert done.exit_code == 2
    assert not (tmp_path / "deep").exists()


def test_text_in_another_encoding_is_read_where_that_is_said(tmp_path: Path):
    path = tmp_path / "in.csv"
    path.write_bytes("who,what,when,stars,did\nJosé,a,2024-01-01,1,like\n".encode("latin-1"))
    output = tmp_path / "deep" / "out"
    done = CliRunner().invoke(
        app, ["data", "import", "table", str(path), "--map", MAP, "--output", str(output)]
    )
    assert done.exit_code == 2
    run(path, output, "--encoding", "latin-1")
    assert load_dataset(output).interactions["user_id"].tolist() == ["José"]


def test_a_year_of_publication_is_a_year(tmp_path: Path):
    interactions, items = tmp_path / "in.csv", tmp_path / "items.csv"
    interactions.write_text("who,what,when\nu,a,1700000000\nu,b,1700000001\nu,c,1700000002\n")
    items.write_text("what,year\na,1995\nb,2003.0\nc,1700000000\n")
    done = CliRunner().invoke(
        app,
        [
            *("data", "import", "table", str(interactions), "--items", str(items)),
            *("--output", str(tmp_path / "out")),
            *("--map", "user_id=who,item_id=what,timestamp=when,published_at=year"),
        ],
    )
    assert done.exit_code == 0, done.output
    published = load_dataset(tmp_path / "out").catalogue.published_at
    assert [str(moment)[:10] for moment in published] == ["1995-01-01", "2003-01-01", "2023-11-14"]
