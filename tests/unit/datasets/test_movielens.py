"""The MovieLens importer: both layouts, every reason for quarantine, every unusable folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from streamrec.contracts.errors import DataFolderError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import load_dataset
from streamrec.datasets.importers import ImportReport, import_movielens

NOW = datetime(2026, 1, 1, tzinfo=UTC)

ITEMS = """movieId,title,genres,director,languages
1,Toy Story (1995),Adventure|Children,John Lasseter,English
2,"City of Lost Children, The (1995)",Drama,Marc Caro,"French, Cantonese"
3,Fawlty Towers (1975-1979),(no genres listed),,None
4,Hyena Road,Drama|Drama, ,
"""
RATINGS = """userId,movieId,rating,timestamp
7,2,4.5,1000000000
7,1,0.5,1000000000
9,3,5.0,1100000000
"""


def folder(path: Path, **files: str | bytes) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else content.encode()
        (path / name.replace("_", ".")).write_bytes(raw)
    return path


def imported(source: Path, output: Path) -> ImportReport:
    return import_movielens(source, output, SilentProgress(), now=NOW)


def quarantine(output: Path) -> list[tuple[str, int, str, str | None]]:
    rows = pq.read_table(output / "quarantine.parquet").to_pylist()
    return [(row["source_file"], row["line"], row["reason"], row["field"]) for row in rows]


def test_items_carry_creator_language_topics_and_year(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS)
    imported(source, tmp_path / "out")
    catalogue = load_dataset(tmp_path / "out").catalogue
    assert catalogue.creator_ids == ("John Lasseter", "Marc Caro", "unknown", "unknown")
    assert catalogue.creator_languages == ("English", "French", "unknown", "unknown")
    assert catalogue.topics == (("Adventure", "Children"), ("Drama",), (), ("Drama",))
    assert [str(day)[:10] for day in catalogue.published_at] == [
        "1995-01-01",
        "1995-01-01",
        "1975-01-01",
        "NaT",
    ]
    assert catalogue.titles[1] == "City of Lost Children, The (1995)"


def test_movies_csv_is_enough(tmp_path: Path):
    source = folder(
        tmp_path / "ml",
        movies_csv="movieId,title,genres\n1,A (1999),Drama\n2,B,\n3,C,\n",
        ratings_csv=RATINGS,
    )
    imported(source, tmp_path / "out")
    catalogue = load_dataset(tmp_path / "out").catalogue
    assert set(catalogue.creator_ids) == {"unknown"}
    assert set(catalogue.creator_languages) == {"unknown"}


def test_every_rating_is_an_interaction_in_the_order_of_the_file(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS)
    report = imported(source, tmp_path / "out")
    assert (report.interactions, report.items, report.users, report.rows_quarantined) == (3, 4, 2, 0)
    table = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert table["item_id"].to_pylist() == ["2", "1", "3"]
    assert load_dataset(tmp_path / "out").interactions["item_id"].tolist() == ["2", "1", "3"]
    assert table["timestamp"].to_pylist()[0] == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    assert table["rating"].to_pylist() == [4.5, 0.5, 5.0]


BAD_ROWS = {
    "seven,1,3.0,1000000000": ("not_a_number", "userId"),
    "7,1.5,3.0,1000000000": ("not_a_number", "movieId"),
    "7,1,three,1000000000": ("not_a_number", "rating"),
    "7,1,nan,1000000000": ("not_finite", "rating"),
    "7,1,inf,1000000000": ("not_finite", "rating"),
    "7,1,1e999,1000000000": ("not_a_number", "rating"),
    "7,1,,1000000000": ("missing_field", "rating"),
    ",1,3.0,1000000000": ("missing_field", "userId"),
    "7,,3.0,1000000000": ("missing_field", "movieId"),
    "7,1,3.0,": ("missing_field", "timestamp"),
    "7,1,3.0,soon": ("not_a_number", "timestamp"),
    "7,1,3.0,1000000000.5": ("not_a_time", "timestamp"),
    "7,1,3.0,-1": ("negative_timestamp", "timestamp"),
    "7,1,3.0,4102444800": ("future_timestamp", "timestamp"),
    "7,1,3.0,99999999999999999999999": ("future_timestamp", "timestamp"),
    "7,1,9.5,1000000000": ("out_of_range", "rating"),
    "7,999,3.0,1000000000": ("unknown_item", "movieId"),
    "7,1,3.0": ("wrong_column_count", None),
    "7,1,3.0,1000000000,x": ("wrong_column_count", None),
    '7,"1,3.0,1000000000': ("malformed_quotes", None),
    "7\0,1,3.0,1000000000": ("control_character", "userId"),
    "7" * 129 + ",1,3.0,1000000000": ("id_too_long", "userId"),
    "7,2,4.5,1000000000": ("duplicate_row", None),
}


@pytest.mark.parametrize(
    "row", BAD_ROWS, ids=[f"{reason}-{i}" for i, (reason, _) in enumerate(BAD_ROWS.values())]
)
def test_a_bad_row_is_quarantined_with_its_line_and_reason(tmp_path: Path, row: str):
    reason, field = BAD_ROWS[row]
    lines = RATINGS.splitlines()
    source = folder(
        tmp_path / "ml", items_csv=ITEMS, ratings_csv="\n".join([*lines[:3], row, lines[3]]) + "\n"
    )
    report = imported(source, tmp_path / "out")
    assert report.interactions == 3
    assert dict(report.quarantined) == {reason: 1}
    assert quarantine(tmp_path / "out") == [("ratings.csv", 4, reason, field)]
    assert pq.read_table(tmp_path / "out" / "quarantine.parquet")["raw"].to_pylist() == [row]


def test_bytes_that_are_no_utf8_spoil_their_own_row_only(tmp_path: Path):
    source = folder(
        tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS.encode() + b"7,1\xff,3.0,1000000001\n"
    )
    report = imported(source, tmp_path / "out")
    assert report.interactions == 3
    assert quarantine(tmp_path / "out") == [("ratings.csv", 5, "invalid_utf8", "movieId")]


def test_an_endless_line_is_cut_and_quarantined(tmp_path: Path):
    source = folder(
        tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS + "7" * 3_000_000 + "\n9,1,3.0,1100000001\n"
    )
    report = imported(source, tmp_path / "out")
    assert report.interactions == 4
    assert quarantine(tmp_path / "out") == [("ratings.csv", 5, "line_too_long", None)]


def test_the_second_row_of_an_item_is_quarantined(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS + "1,Again (2000),,,\n", ratings_csv=RATINGS)
    report = imported(source, tmp_path / "out")
    assert report.items == 4
    assert quarantine(tmp_path / "out") == [("items.csv", 6, "duplicate_id", "movieId")]
    assert load_dataset(tmp_path / "out").catalogue.titles[0] == "Toy Story (1995)"


def test_each_repeated_row_is_a_duplicate_once(tmp_path: Path):
    rows = [f"{user},{1 + user % 3},3.0,{1_000_000_000 + user}" for user in range(500)]
    text = "userId,movieId,rating,timestamp\n" + "\n".join(rows + rows[::-1]) + "\n"
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=text)
    report = imported(source, tmp_path / "out")
    assert report.interactions == 500
    assert dict(report.quarantined) == {"duplicate_row": 500}


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path):
    source = folder(
        tmp_path / "ml",
        items_csv=b"\xef\xbb\xbf" + ITEMS.replace("\n", "\r\n").encode(),
        ratings_csv=RATINGS.replace("\n", "\r\n").rstrip(),
    )
    report = imported(source, tmp_path / "out")
    assert (report.interactions, report.rows_quarantined) == (3, 0)


def test_the_double_colon_layout(tmp_path: Path):
    source = folder(
        tmp_path / "ml1m",
        ratings_dat="1::10::5::978300760\n1::11::3::978302109\n2::10::x::978302109\n",
        movies_dat="10::Misérables, Les (1995)::Drama|Musical\n11::B::Drama\n".encode("latin-1"),
        users_dat="1::F::1::10::48067\n2::M::56::16::70072\n",
    )
    report = imported(source, tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert dataset.catalogue.titles[0] == "Misérables, Les (1995)"
    assert dataset.users.set_index("user_id")["age_band"].to_dict() == {"1": "under-18", "2": "56+"}
    assert report.interactions == 2
    assert quarantine(tmp_path / "out") == [("ratings.dat", 3, "not_a_number", "rating")]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS + "7,1,nan,1\n")
    for name in ("first", "second", "first"):  # the last one over itself
        imported(source, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["import_report.json", "interactions.parquet", "items.parquet", "quarantine.parquet"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


HEADER = RATINGS.splitlines()[0]

# What lies in ratings.csv, beside a good items.csv; the column at fault.
UNUSABLE: dict[str, tuple[str | bytes, str | None]] = {
    "empty": ("", None),
    "header only": (HEADER, None),
    "no valid row": (f"{HEADER}\nx,y,z,w\n", None),
    "no column": ("userId,movieId,rating\n7,1,3.0\n", "timestamp"),
    "no header": ("7,1,3.0,1000000000\n", "userId"),
    "column twice": (f"userId,{HEADER}\n", "userId"),
    "not text": (b"\xff\xfe\x00\x01\n", None),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_unusable_ratings_are_one_error_that_names_file_and_column(tmp_path: Path, case: str):
    content, column = UNUSABLE[case]
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=content)
    with pytest.raises(DataFolderError) as caught:
        imported(source, tmp_path / "out")
    assert (caught.value.file.name, caught.value.column) == ("ratings.csv", column)
    assert [path.name for path in tmp_path.iterdir()] == ["ml"]  # neither an output nor a half-written one


@pytest.mark.parametrize(
    ("files", "missing"),
    [({"items_csv": ITEMS}, "ratings.csv"), ({"ratings_csv": RATINGS}, "movies.csv")],
)
def test_a_missing_file_is_named(tmp_path: Path, files: dict[str, str], missing: str):
    with pytest.raises(DataFolderError) as caught:
        imported(folder(tmp_path / "ml", **files), tmp_path / "out")
    assert caught.value.file.name == missing


def test_an_empty_catalogue_is_named(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS.splitlines()[0], ratings_csv=RATINGS)
    with pytest.raises(DataFolderError, match="no rows") as caught:
        imported(source, tmp_path / "out")
    assert caught.value.file.name == "items.csv"


def test_a_failed_import_leaves_the_earlier_data(tmp_path: Path):
    imported(folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS), tmp_path / "out")
    before = load_dataset(tmp_path / "out").fingerprint
    with pytest.raises(DataFolderError):
        imported(folder(tmp_path / "bad", items_csv=ITEMS, ratings_csv=""), tmp_path / "out")
    assert load_dataset(tmp_path / "out").fingerprint == before


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS)
    with pytest.raises(DataFolderError, match="would replace the source"):
        imported(source, source)
    with pytest.raises(DataFolderError, match=r"thesis\.tex"):
        imported(source, folder(tmp_path / "work", thesis_tex="years of work"))
    assert (tmp_path / "work" / "thesis.tex").read_text() == "years of work"


def test_a_source_that_is_no_folder(tmp_path: Path):
    with pytest.raises(DataFolderError, match="is not a folder"):
        imported(tmp_path / "nowhere", tmp_path / "out")


def test_the_real_data(tmp_path: Path, data_root: Path):
    report = imported(data_root / "movielens-small", tmp_path / "out")
    assert (report.interactions, report.items, report.users) == (100_004, 9_125, 671)
    assert report.rows_quarantined == 0
    dataset = load_dataset(tmp_path / "out")
    languages = np.array(dataset.catalogue.creator_languages)
    assert (languages == "English").sum() == 5_107
    assert str(dataset.interactions["timestamp"].dtype) == "datetime64[ns, UTC]"


def test_dat_files_are_utf8_where_they_can_be(tmp_path: Path):
    source = folder(
        tmp_path / "ml",
        movies_dat="10::Первый фильм (1996)::Drama\n11::Misérables, Les (1995)::Drama\n",
        ratings_dat="7::10::4::1000000000\n",
    )
    imported(source, tmp_path / "out")
    titles = load_dataset(tmp_path / "out").catalogue.titles
    assert titles == ("Первый фильм (1996)", "Misérables, Les (1995)")


@pytest.mark.parametrize("blank", ["\r\n", "\n", " \t\n", "\n\n\n"])
def test_blank_lines_are_nothing(tmp_path: Path, blank: str):
    lines = RATINGS.splitlines(keepends=True)
    source = folder(
        tmp_path / "ml", items_csv=ITEMS + blank, ratings_csv="".join([*lines[:2], blank, *lines[2:], blank])
    )
    report = imported(source, tmp_path / "out")
    assert (report.interactions, report.rows_quarantined) == (3, 0)
    assert sum(file.rows_read for file in report.files) == 3 + 4


def test_a_line_after_a_blank_one_keeps_its_number(tmp_path: Path):
    source = folder(tmp_path / "ml", items_csv=ITEMS, ratings_csv=RATINGS + "\n7,1\n")
    imported(source, tmp_path / "out")
    assert quarantine(tmp_path / "out") == [("ratings.csv", 6, "wrong_column_count", None)]


def test_an_attribute_that_cannot_be_used_becomes_unknown_or_short_and_the_film_stays(tmp_path: Path):
    genres = "|".join(f"g{n}" for n in range(70))
    catalogue = [
        b"movieId,title,genres,director,languages",
        "1,Premi\xe8re (1995),Drama,R\xe9,English".encode("latin-1"),
        f"2,{'T' * 1100} (1996),{genres},{'d' * 300},{'l' * 300}".encode(),
        b"3,Romeo and Juliet (1595),Drama,a\0b,English",
    ]
    source = folder(tmp_path / "ml", items_csv=b"\n".join(catalogue) + b"\n", ratings_csv=RATINGS)
    report = imported(source, tmp_path / "out")
    assert (report.items, report.interactions, dict(report.quarantined)) == (3, 3, {})
    assert report.files[0].repaired == {
        "director": {"control_character": 1, "invalid_utf8": 1, "id_too_long": 1},
        "genres": {"out_of_range": 1},
        "languages": {"id_too_long": 1},
        "published_at": {"out_of_range": 1},
        "title": {"invalid_utf8": 1, "text_too_long": 1},
    }
    films = load_dataset(tmp_path / "out").catalogue
    assert films.titles == ("", "T" * 1024, "Romeo and Juliet (1595)")
    assert films.creator_ids == ("unknown", "d" * 256, "unknown")
    assert [len(topics) for topics in films.topics] == [1, 64, 1]
    assert [str(day)[:4] for day in films.published_at] == ["1995", "1996", "NaT"]
