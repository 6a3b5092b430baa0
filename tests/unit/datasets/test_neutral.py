"""The importer of foreign folders in the neutral format."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.importers import ImportReport, import_neutral

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TIME = datetime(2025, 6, 1, tzinfo=UTC)


def items(**changed: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "item_id": ["a", "b", "c"],
        "title": ["A", None, "C"],
        "creator_id": ["x", "y", None],
        "creator_language": ["Hindi", "None", " French "],
        "topics": [["t", "u", "t"], None, [""]],
        "published_at": pa.array([TIME, None, None], pa.timestamp("us", tz="UTC")),
    }
    return pa.table({name: value for name, value in {**columns, **changed}.items() if value is not None})


def interactions(**changed: Any) -> pa.Table:
    columns: dict[str, Any] = {"user_id": ["u", "v"], "item_id": ["b", "a"], "timestamp": [TIME, TIME]}
    return pa.table({name: value for name, value in {**columns, **changed}.items() if value is not None})


def source(path: Path, interactions: pa.Table, items: pa.Table, users: pa.Table | None = None) -> Path:
    path.mkdir(exist_ok=True)
    pq.write_table(interactions, path / "interactions.parquet")
    pq.write_table(items, path / "items.parquet")
    if users is not None:
        pq.write_table(users, path / "users.parquet")
    return path


def imported(folder: Path) -> ImportReport:
    return import_neutral(folder, folder.parent / "out", SilentProgress(), now=NOW)


def quarantine(output: Path) -> list[tuple[str, int, str, str | None]]:
    rows = pq.read_table(output / "quarantine.parquet").to_pylist()
    return [(row["source_file"], row["line"], row["reason"], row["field"]) for row in rows]


def test_missing_values_read_as_unknown(tmp_path: Path):
    imported(source(tmp_path / "in", interactions(), items()))
    catalogue = load_dataset(tmp_path / "out").catalogue
    assert catalogue.titles == ("A", "", "C")
    assert catalogue.creator_ids == ("x", "y", "unknown")
    assert catalogue.creator_languages == ("Hindi", "unknown", "French")
    assert catalogue.topics == (("t", "u"), (), ())


def test_identifiers_may_be_numbers_and_times_text_or_seconds(tmp_path: Path):
    numbered = items(item_id=[1, 2, 3], published_at=["2001-02-03", None, "1902-01-01T00:00:00Z"])
    rows = interactions(user_id=[10, 11], item_id=[2, 1], timestamp=[1_700_000_000, 1_700_000_001])
    imported(source(tmp_path / "in", rows, numbered))
    dataset = load_dataset(tmp_path / "out")
    assert dataset.interactions["user_id"].tolist() == ["10", "11"]
    assert dataset.interactions["timestamp"].astype(str).tolist()[0] == "2023-11-14 22:13:20+00:00"
    assert [str(day)[:10] for day in dataset.catalogue.published_at] == ["2001-02-03", "NaT", "1902-01-01"]


def test_rating_and_event_are_kept_where_the_source_has_them(tmp_path: Path):
    rows = interactions(rating=[None, 3.5], event=["play", None])
    imported(source(tmp_path / "in", rows, items()))
    table = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert table["rating"].to_pylist() == [None, 3.5]
    assert table["event"].to_pylist() == ["play", None]


FUTURE = datetime(2026, 1, 2, tzinfo=UTC)
BAD_INTERACTIONS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"user_id": None}, "missing_field", "user_id"),
    ({"user_id": " "}, "missing_field", "user_id"),
    ({"user_id": "u" * 129}, "id_too_long", "user_id"),
    ({"user_id": "u\0"}, "control_character", "user_id"),
    ({"item_id": "a\n"}, "control_character", "item_id"),
    ({"item_id": "z"}, "unknown_item", "item_id"),
    ({"timestamp": None}, "missing_field", "timestamp"),
    ({"timestamp": FUTURE}, "future_timestamp", "timestamp"),
    ({"timestamp": datetime(1969, 12, 31, tzinfo=UTC)}, "negative_timestamp", "timestamp"),
    ({"rating": float("nan")}, "not_finite", "rating"),
    ({"rating": float("-inf")}, "not_finite", "rating"),
    ({"event": "pl\tay"}, "control_character", "event"),
    ({}, "duplicate_row", None),
]


@pytest.mark.parametrize(("change", "reason", "field"), BAD_INTERACTIONS)
def test_a_bad_interaction_is_quarantined(
    tmp_path: Path, change: dict[str, Any], reason: str, field: str | None
):
    good = {"user_id": "u", "item_id": "a", "timestamp": TIME, "rating": 1.0, "event": "play"}
    rows = [good, {**good, **change}, {**good, "user_id": "w"}]
    table = pa.table({name: [row[name] for row in rows] for name in good})
    report = imported(source(tmp_path / "in", table, items()))
    assert report.interactions == 2
    assert quarantine(tmp_path / "out") == [("interactions.parquet", 2, reason, field)]
    raw = pq.read_table(tmp_path / "out" / "quarantine.parquet")["raw"].to_pylist()[0]
    assert set(json.loads(raw)) == set(good)


def test_text_that_is_no_utf8_spoils_its_own_row_only(tmp_path: Path):
    broken = pa.array([b"u", b"\xff\xfe", b"w"]).view(pa.string())
    rows = interactions(user_id=broken, item_id=["a", "a", "b"], timestamp=[TIME] * 3)
    report = imported(source(tmp_path / "in", rows, items()))
    assert report.interactions == 2
    assert quarantine(tmp_path / "out") == [("interactions.parquet", 2, "invalid_utf8", "user_id")]


BAD_ITEMS: list[tuple[dict[str, Any], str, str]] = [
    ({"item_id": ["a", "a", "c"]}, "duplicate_id", "item_id"),
    ({"item_id": ["a", None, "c"]}, "missing_field", "item_id"),
]


@pytest.mark.parametrize(("change", "reason", "field"), BAD_ITEMS)
def test_a_bad_item_is_quarantined_and_so_is_what_refers_to_it(
    tmp_path: Path, change: dict[str, Any], reason: str, field: str
):
    rows = interactions(item_id=["a", "b"])
    report = imported(source(tmp_path / "in", rows, items(**change)))
    assert report.items == 2
    assert quarantine(tmp_path / "out") == [
        ("items.parquet", 2, reason, field),
        ("interactions.parquet", 2, "unknown_item", "item_id"),
    ]


def not_utf8(*values: bytes) -> pa.Array:
    return pa.array(values).view(pa.string())


BAD_ATTRIBUTES: list[tuple[dict[str, Any], str, str, Any]] = [
    ({"creator_id": ["x", "y\0", "z"]}, "control_character", "creator_id", "unknown"),
    ({"creator_id": ["x", "y" * 257, "z"]}, "id_too_long", "creator_id", "y" * 256),
    ({"creator_id": not_utf8(b"x", b"\xff", b"z")}, "invalid_utf8", "creator_id", "unknown"),
    ({"creator_language": ["x", "y" * 257, "z"]}, "id_too_long", "creator_language", "y" * 256),
    ({"title": ["A", "B" * 1025, "C"]}, "text_too_long", "title", "B" * 1024),
    ({"title": not_utf8(b"A", b"\xe8", b"C")}, "invalid_utf8", "title", ""),
    ({"topics": [["t"], [str(n) for n in range(65)], []]}, "out_of_range", "topics", [*map(str, range(64))]),
    ({"topics": [["t"], ["t\0", "u"], []]}, "control_character", "topics", ["u"]),
    ({"topics": [["t"], ["t" * 257, "u"], []]}, "id_too_long", "topics", ["t" * 256, "u"]),
    ({"published_at": [0, 10**12, 0]}, "out_of_range", "published_at", None),
    ({"published_at": [0, 2**62, 0]}, "out_of_range", "published_at", None),
    ({"published_at": ["2020-01-01", "1595-01-01", None]}, "out_of_range", "published_at", None),
    ({"published_at": ["2020-01-01", "-0750-01-01", None]}, "out_of_range", "published_at", None),
    ({"published_at": ["2020-01-01", "-750", None]}, "out_of_range", "published_at", None),
    ({"published_at": ["2020-01-01", "last year", None]}, "not_a_time", "published_at", None),
]


@pytest.mark.parametrize(("change", "reason", "field", "mended"), BAD_ATTRIBUTES)
def test_a_bad_attribute_becomes_unknown_or_short_and_its_item_and_interactions_stay(
    tmp_path: Path, change: dict[str, Any], reason: str, field: str, mended: Any
):
    report = imported(source(tmp_path / "in", interactions(item_id=["a", "b"]), items(**change)))
    assert (report.items, report.interactions, dict(report.quarantined)) == (3, 2, {})
    assert report.files[0].repaired == {field: {reason: 1}}
    assert pq.read_table(tmp_path / "out" / "items.parquet")[field].to_pylist()[1] == mended


def test_users_are_checked_and_completed(tmp_path: Path):
    users = pa.table(
        {
            "user_id": ["u", "u", "w"],
            "country": ["F" * 300, "DE", None],
            "signed_up_at": [TIME, TIME, FUTURE],
        }
    )
    report = imported(source(tmp_path / "in", interactions(), items(), users))
    assert quarantine(tmp_path / "out") == [("users.parquet", 2, "duplicate_id", "user_id")]
    assert report.files[1].repaired == {
        "country": {"id_too_long": 1},
        "signed_up_at": {"future_timestamp": 1},
    }
    assert report.users == 3
    assert load_dataset(tmp_path / "out").users["country"].tolist() == ["F" * 256, "unknown", "unknown"]


def test_importing_an_import_changes_nothing(tmp_path: Path):
    imported(source(tmp_path / "in", interactions(), items()))
    import_neutral(tmp_path / "out", tmp_path / "again", SilentProgress(), now=NOW)
    assert load_dataset(tmp_path / "out").fingerprint == load_dataset(tmp_path / "again").fingerprint


UNUSABLE: list[tuple[pa.Table, pa.Table, str, str | None]] = [
    (interactions(timestamp=None), items(), "interactions.parquet", "timestamp"),
    (interactions(user_id=[1.5, 2.5]), items(), "interactions.parquet", "user_id"),
    (interactions(rating=["good", "bad"]), items(), "interactions.parquet", "rating"),
    (interactions(item_id=["z", "z"]), items(), "interactions.parquet", None),
    (interactions().slice(0, 0), items(), "interactions.parquet", None),
    (interactions(), items(topics=None), "items.parquet", "topics"),
    (interactions(), items(topics=["t", "u", "v"]), "items.parquet", "topics"),
    (interactions(), items().slice(0, 0), "items.parquet", None),
]


@pytest.mark.parametrize("case", range(len(UNUSABLE)))
def test_an_unusable_folder_is_one_error_that_names_file_and_column(tmp_path: Path, case: int):
    rows, catalogue, name, column = UNUSABLE[case]
    with pytest.raises(DataFolderError) as caught:
        imported(source(tmp_path / "in", rows, catalogue))
    assert (caught.value.file.name, caught.value.column) == (name, column)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet"])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, name: str):
    folder = source(tmp_path / "in", interactions(), items())
    whole = (folder / name).read_bytes()
    for content in (None, b"", b"PAR1 is not enough", whole[:-20]):
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(DataFolderError) as caught:
            imported(folder)
        assert caught.value.file.name == name
