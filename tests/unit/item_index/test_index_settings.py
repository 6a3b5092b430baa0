from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.recommendations.item_index.settings import IndexChoice, IndexKind, IndexSettings, read_choice
from streamrec.contracts.errors import ArtifactError, InvalidInputError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "annoy"),
        ("exact_limit", -1),
        ("list_count", 0),
        ("list_count", 2.5),
        ("probe_count", 0),
        ("neighbour_count", 1),
        ("search_depth", 1 << 21),
        ("rescored_share", 0.9),
        ("rescored_share", float("nan")),
        ("thread_count", 0),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(InvalidInputError, match=f"index.{field}"):
        IndexSettings(**{field: value})


def test_only_what_shapes_the_structure_makes_another_build():
    lists = IndexSettings(kind=IndexKind.IVF_FLAT)
    assert replace(lists, probe_count=3, search_depth=9).builds_the_same_as(lists)
    assert not replace(lists, list_count=3).builds_the_same_as(lists)
    assert not replace(lists, kind=IndexKind.IVF_SQ8).builds_the_same_as(lists)
    graph = IndexSettings(kind=IndexKind.HNSW)
    assert replace(graph, search_depth=9, list_count=3).builds_the_same_as(graph)
    assert not replace(graph, neighbour_count=9).builds_the_same_as(graph)


def test_a_choice_survives_its_file(tmp_path: Path):
    choice = IndexChoice(IndexSettings(kind=IndexKind.HNSW, search_depth=700), 123, {"recall": 0.991})
    path = tmp_path / "choice.json"
    assert read_choice(path) is None
    path.write_text(json.dumps(choice.to_json()))
    assert read_choice(path) == choice


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: {**d, "format": 2},
        lambda d: {**d, "settings": {**d["settings"], "kind": "annoy"}},
        lambda d: {**d, "settings": {**d["settings"], "list_count": "many"}},
        lambda d: {**d, "settings": {**d["settings"], "colour": "red"}},
        lambda d: {key: value for key, value in d.items() if key != "item_count"},
        lambda _: [],
        lambda _: None,
    ],
)
def test_a_damaged_choice_is_refused_and_says_what_helps(tmp_path: Path, damage):
    path = tmp_path / "choice.json"
    path.write_text(json.dumps(damage(IndexChoice(IndexSettings(), 9).to_json())))
    with pytest.raises(ArtifactError, match=r"choice\.json.*index tune"):
        read_choice(path)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path):
    path = tmp_path / "choice.json"
    path.write_text("{")
    with pytest.raises(ArtifactError, match="index tune"):
        read_choice(path)


def test_a_choice_fits_what_is_about_as_large_or_searched_exactly():
    choice = IndexChoice(IndexSettings(exact_limit=500), 1000)
    assert [choice.fits(count) for count in (3, 500, 501, 1999, 2000, 2001)] == [True] * 5 + [False]
    assert not IndexChoice(IndexSettings(exact_limit=100), 1000).fits(499)
