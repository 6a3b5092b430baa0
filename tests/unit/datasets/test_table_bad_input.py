"""Anybody's table as people really have it: read, quarantined and counted, or refused in one sentence."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from services.cli.main import app
from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.importers import ImportReport, TableForm, TableSource, import_table, table
from streamrec.datasets.importers.repeated_rows import SeenHashes

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = "user_id,item_id,timestamp,rating\n"
GOOD = "u,a,1700000000,4\n"
MOMENT = "2023-11-14 22:13:20+00:00"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def imported(path: Path, **options: Any) -> ImportReport:
    return import_table(TableSource(path, **options), path.parent / "out", SilentProgress(), NOW)


def kept(path: Path, **options: Any) -> list[list[str]]:
    imported(path, **options)
    return load_dataset(path.parent / "out").interactions[["user_id", "item_id"]].to_numpy().tolist()


def quarantine(path: Path) -> list[tuple[int, str, str | None]]:
    rows = pq.read_table(path.parent / "out" / "quarantine.parquet").to_pylist()
    return [(row["line"], row["reason"], row["field"]) for row in rows]


BAD_ROWS = [
    ("v,a,1700000000,nan\n", "not_finite", "rating"),
    ("v,a,1700000000,-inf\n", "not_finite", "rating"),
    ("v,a,1700000000,good\n", "not_a_number", "rating"),
    ("v,a,-86400,4\n", "negative_timestamp", "timestamp"),
    ("v,a,1965-01-01,4\n", "negative_timestamp", "timestamp"),
    ("v,a,2030-01-01 10:00:00,4\n", "future_timestamp", "timestamp"),
    ("v,a,2999-01-01,4\n", "out_of_range", "timestamp"),
    ("v,a,12/1/2010 8:26,4\n", "not_a_time", "timestamp"),
    ("v,a,inf,4\n", "not_a_time", "timestamp"),
    ("v,a,,4\n", "missing_field", "timestamp"),
    ("v\0,a,1700000000,4\n", "control_character", "user_id"),
    (",a,1700000000,4\n", "missing_field", "user_id"),
    ("x" * 100_000 + ",a,1700000000,4\n", "id_too_long", "user_id"),
    (GOOD, "duplicate_row", None),
    ("v,a\n", "wrong_column_count", None),
    (b"Jos\xe9,a,1700000000,4\n", "invalid_utf8", "user_id"),
]


@pytest.mark.parametrize(("row", "reason", "field"), BAD_ROWS)
def test_a_bad_row_is_quarantined_with_its_number_and_its_own_text(
    tmp_path: Path, row: str | bytes, reason: str, field: str | None
):
    bad = row if isinstance(row, bytes) else row.encode()
    path = written(tmp_path, "in.csv", HEADER.encode() + GOOD.encode() + bad + b"w,a,1700000000,4\n")
    report = imported(path)
    assert report.interactions == 2
    assert report.files[0].rows_read == 3
    assert quarantine(path) == [(3, reason, field)]
    raw = pq.read_table(tmp_path / "out" / "quarantine.parquet")["raw"][0].as_py()
    if field == "timestamp" and reason != "missing_field":
        assert json.loads(raw)["timestamp"] == row.split(",")[2]


def test_rows_behind_malformed_ones_keep_their_numbers(tmp_path: Path):
    path = written(tmp_path, "in.csv", HEADER + "short\n" + GOOD + "short\nshort\n,a,1,1\n" + GOOD)
    imported(path)
    assert sorted(quarantine(path)) == [
        (2, "wrong_column_count", None),
        (4, "wrong_column_count", None),
        (5, "wrong_column_count", None),
        (6, "missing_field", "user_id"),
        (7, "duplicate_row", None),
    ]


def test_an_id_is_the_same_in_every_spelling_of_a_whole_number(tmp_path: Path):
    times = "1700000000", "1700000001000", "1700000002000000", "1700000003000000000"
    text = HEADER + "".join(
        f"{user},7.0,{moment},1\n" for user, moment in zip(("12", "12.0") * 2, times, strict=True)
    )
    assert kept(written(tmp_path, "in.csv", text)) == [["12", "7"]] * 4
    moments = load_dataset(tmp_path / "out").interactions["timestamp"].astype(str).tolist()
    assert moments == [f"2023-11-14 22:13:2{second}+00:00" for second in range(4)]


@pytest.mark.parametrize(
    "text", ["2023-11-14T22:13:20", "2023-11-15 00:13:20+02:00", "1.7e9", "1700000000.0"]
)
def test_a_time_in_any_certain_form_is_that_time_beside_any_other(tmp_path: Path, text: str):
    path = written(tmp_path, "in.csv", HEADER + GOOD + f"v,a,{text},4\n" + "w,a,nonsense,4\n")
    assert imported(path).quarantined == {"not_a_time": 1}
    assert set(load_dataset(tmp_path / "out").interactions["timestamp"].astype(str)) == {MOMENT}


REFUSED = [
    ("in.csv", "", "the file is empty"),
    ("in.csv", HEADER, "the file has no rows"),
    ("in.csv", "user_id;item_id;timestamp\nu;a;1\n", "pass --delimiter ';'"),
    ("in.csv", "user_id\nu\n", "say which is the item_id by --map item_id=COLUMN"),
    ("in.csv", "user_id,item_id\nu,a\n", "for a table without times pass --time"),
    ("in.csv", "user_id,user_id,item_id,timestamp\nu,u,a,1\n", "has the column twice"),
    ("in.csv", (HEADER + GOOD).encode("utf-16"), "pass --encoding utf-16"),
    ("in.csv", HEADER.encode() + b"\xe9,a,1700000000,1\n", "text that is not UTF-8 needs --encoding"),
    ("in.csv", HEADER + "u,a,yesterday,1\n", "a time is ISO 8601 or a number"),
    ("in.csv", b"PK\x03\x04 and more", "unpack it"),
    ("in.csv.gz", gzip.compress((HEADER + GOOD).encode(), mtime=0)[:-12], "the file ends too early"),
    ("in.json", '[{"user_id": "u"}]', "write one object a line"),
    ("in.xyz", "u,a,1\n", "pass --delimiter"),
]


@pytest.mark.parametrize(("name", "content", "said"), REFUSED)
def test_what_cannot_be_read_is_one_sentence_that_names_the_file_and_what_helps(
    tmp_path: Path, name: str, content: str | bytes, said: str
):
    path = written(tmp_path, name, content)
    with pytest.raises(DataFolderError) as caught:
        imported(path)
    assert said in str(caught.value)
    assert caught.value.file == path
    assert [left.name for left in tmp_path.iterdir()] == [name]


def test_compressed_content_is_read_whatever_its_name(tmp_path: Path):
    assert kept(written(tmp_path, "in.csv", gzip.compress((HEADER + GOOD).encode()))) == [["u", "a"]]


def test_json_lines_may_change_their_types_and_a_broken_line_spoils_itself(tmp_path: Path):
    lines = [
        '{"user_id": 1, "item_id": "2012-01-01", "timestamp": 1700000000}',
        '{"user_id": "x", "item_id": 12.0, "timestamp": "2023-11-14T22:13:20Z"}',
        "{broken",
        "",
        '{"user_id": 18446744073709551615, "item_id": "q", "timestamp": 1700000000}',
        "[1]",
    ]
    path = written(tmp_path, "in.jsonl", "\ufeff" + "\n".join(lines))
    assert kept(path) == [["1", "2012-01-01"], ["x", "12"], ["18446744073709551615", "q"]]
    assert quarantine(path) == [(3, "wrong_column_count", None), (6, "wrong_column_count", None)]


@pytest.mark.parametrize("ids", [("u", "2012-01-01"), (18446744073709551615, "a"), (2**53 + 1, "a")])
def test_text_like_a_time_and_long_numbers_stay_what_they_are_in_good_json_lines(tmp_path: Path, ids: Any):
    line = json.dumps({"user_id": ids[0], "item_id": ids[1], "timestamp": 1_700_000_000})
    assert kept(written(tmp_path, "in.jsonl", line)) == [[str(ids[0]), ids[1]]]


NEW_YORK = datetime(2023, 11, 14, 17, 13, 20, tzinfo=timezone(timedelta(hours=-5)))
PARQUET: list[tuple[dict[str, Any], list[list[str]]]] = [
    ({"user_id": pa.array(["u"]).dictionary_encode()}, [["u", "a"]]),
    ({"user_id": pa.array(["u"], pa.large_string())}, [["u", "a"]]),
    ({"item_id": pa.array([b"a"], pa.binary())}, [["u", "a"]]),
    ({"item_id": pa.array([Decimal("12.00")])}, [["u", "12"]]),
    ({"item_id": [12.0]}, [["u", "12"]]),
    ({"timestamp": pa.array([NEW_YORK], pa.timestamp("ns", "America/New_York"))}, [["u", "a"]]),
    ({"timestamp": [1_700_000_000.0]}, [["u", "a"]]),
    ({"timestamp": pa.array(["2023-11-14T22:13:20"]).dictionary_encode()}, [["u", "a"]]),
    ({"timestamp": pa.array([Decimal(1_700_000_000)])}, [["u", "a"]]),
]


@pytest.mark.parametrize(("change", "expected"), PARQUET)
def test_parquet_types_with_a_certain_meaning_are_read(tmp_path: Path, change: dict[str, Any], expected: Any):
    columns = {"user_id": ["u"], "item_id": ["a"], "timestamp": [1_700_000_000], **change}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    assert kept(tmp_path / "in.parquet") == expected
    assert load_dataset(tmp_path / "out").interactions["timestamp"].astype(str).tolist() == [MOMENT]


@pytest.mark.parametrize(
    ("column", "value"), [("user_id", {"a": 1}), ("timestamp", time(1)), ("rating", [1])]
)
def test_a_type_without_a_meaning_is_named_with_its_column(tmp_path: Path, column: str, value: Any):
    columns = {"user_id": ["u"], "item_id": ["a"], "timestamp": [1_700_000_000], column: [value]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(DataFolderError, match=r"has the type .* it must hold") as caught:
        imported(tmp_path / "in.parquet")
    assert caught.value.column == column


def with_topics(folder: Path, topics: list[Any]) -> ImportReport:
    path = written(folder, "in.csv", HEADER + GOOD)
    pq.write_table(pa.table({"item_id": ["a"], "topics": [topics]}), folder / "items.parquet")
    return imported(path, items=folder / "items.parquet")


@pytest.mark.parametrize("topics", [[7, 8], [["7"], ["8"]], ["7", "8"]])
def test_topics_may_be_numbers_or_nested(tmp_path: Path, topics: list[Any]):
    with_topics(tmp_path, topics)
    assert load_dataset(tmp_path / "out").catalogue.topics == (("7", "8"),)


def test_topics_that_are_objects_are_refused_by_name(tmp_path: Path):
    with pytest.raises(DataFolderError, match="must hold text or lists of text") as caught:
        with_topics(tmp_path, [{"id": 7}])
    assert caught.value.column == "topics"


def test_a_row_that_is_longer_than_a_block_is_named(tmp_path: Path):
    path = written(tmp_path, "in.csv", HEADER + GOOD + "x" * 5_000_000 + ",a,1700000000,1\n" + GOOD)
    with pytest.raises(DataFolderError, match="a row is longer than 2 MiB"):
        imported(path)


def test_a_folder_of_parts_is_one_table(tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        rows = {"user_id": [f"u{number}"], "item_id": ["a"], "timestamp": [1_700_000_000]}
        pq.write_table(pa.table(rows), folder / f"part-{number}.parquet")
    assert kept(folder) == [["u0", "a"], ["u1", "a"]]


def test_a_table_without_times_gets_the_stated_one(tmp_path: Path):
    path = written(tmp_path, "in.csv", "user_id,item_id\nu,a\n")
    assert kept(path, everything_at=NOW) == [["u", "a"]]
    assert load_dataset(tmp_path / "out").interactions["timestamp"].tolist() == [NOW]


def test_a_file_without_a_header_is_read_by_stated_names(tmp_path: Path):
    path = written(tmp_path, "in.csv", "a,u,5,1700000000\n,u,5,1700000000\n")
    assert kept(path, form=TableForm(columns=("item_id", "user_id", "rating", "timestamp"))) == [["u", "a"]]
    assert quarantine(path) == [(2, "missing_field", "item_id")]


def test_batches_do_not_depend_on_how_the_file_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = (
        HEADER
        + "y\n"
        + "".join(f"u{row % 7},i{row % 5},{1_700_000_000 + row},1\n" for row in range(100))
        + "x\n"
    )
    path = written(tmp_path, "in.csv", rows)
    monkeypatch.setattr(table, "BATCH_ROWS", 9)
    imported(path)
    file = pq.ParquetFile(tmp_path / "out" / "interactions.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(12)] == [9] * 11 + [1]
    assert quarantine(path) == [(line, "wrong_column_count", None) for line in (2, 103)]


def command(path: Path, *options: str) -> Any:
    output = () if "--dry-run" in options else ("--output", str(path.parent / "out"))
    return CliRunner().invoke(app, ["data", "import", "table", str(path), *output, *options])


def test_maps_add_up_and_a_field_named_twice_is_refused(tmp_path: Path):
    path = written(tmp_path, "in.csv", "who,what,when\nu,a,1700000000\n")
    done = command(path, "--map", "user_id=who,item_id=what", "--map", "timestamp=when")
    assert done.exit_code == 0, done.output
    done = command(path, "--map", "user_id=who", "--map", "user_id=what")
    assert done.exit_code == 2
    assert "names 'user_id' twice" in " ".join(done.output.split())


def test_two_fields_of_one_column_are_refused(tmp_path: Path):
    done = command(written(tmp_path, "in.csv", HEADER + GOOD), "--map", "user_id=item_id")
    assert done.exit_code == 2
    assert "is mapped to user_id and to item_id" in " ".join(done.output.split())


def test_a_dry_run_says_which_column_is_which_and_what_is_not_read(tmp_path: Path):
    path = written(tmp_path, "in.csv", "who,item_id,when,extra\nu,a,1700000000,x\n")
    done = command(path, "--map", "user_id=who,timestamp=when", "--dry-run")
    assert done.exit_code == 0, done.output
    assert ["user_id", "who", "u"] in [line.split() for line in done.output.splitlines()]
    assert "2023-11-14 22:13:20" in done.output
    assert "Not read: extra" in done.output
    assert not (tmp_path / "out").exists()


def test_a_dry_run_shows_the_first_row_that_cannot_be_used_for_each_reason(tmp_path: Path):
    path = written(tmp_path, "in.csv", HEADER + GOOD + "v,a,05/06/2024,1\nw,a,07/08/2024,1\nx,a\n" + GOOD)
    done = command(path, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "Of the first 5 interactions 1 can be used" in done.output
    words = [line.split() for line in done.output.splitlines()]
    assert ["not", "a", "time", "timestamp", "in.csv", "3"] in [line[:6] for line in words]
    assert not any("07/08/2024" in line for line in done.output.partition("What could")[2].splitlines())
    assert [left.name for left in tmp_path.iterdir()] == ["in.csv"]


def test_an_import_of_the_first_rows_stops_there(tmp_path: Path):
    path = written(
        tmp_path, "in.csv", HEADER + "short\n" + "".join(f"u{n},a,1,1\n" for n in range(9)) + "x\n"
    )
    report = import_table(TableSource(path), tmp_path / "out", SilentProgress(), NOW, most_rows=4)
    assert (report.interactions, report.files[0].rows_read) == (4, 5)


def test_a_dry_run_of_items_shows_their_topics(tmp_path: Path):
    items = written(tmp_path, "items.csv", "item_id,topics\na,Drama|War\n")
    done = command(written(tmp_path, "in.csv", HEADER + GOOD), "--items", str(items), "--dry-run")
    assert "Drama, War" in done.output


def test_hashes_are_counted_once_and_the_first_of_equal_ones_is_new():
    random = np.random.default_rng(5)
    seen, expected = SeenHashes(), set()
    for _ in range(30):
        values = random.integers(0, 400, 50)
        verdicts = seen.add(values.astype(np.uint64) << np.uint64(55)).tolist()
        for value, repeated in zip(values.tolist(), verdicts, strict=True):
            assert repeated == (value in expected)
            expected.add(value)
    assert len(seen) == len(expected)
