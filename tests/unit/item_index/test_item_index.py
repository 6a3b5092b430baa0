from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.recommendations.item_index.index import (
    INDEX_FILE,
    SETTINGS_FILE,
    VECTORS_FILE,
    IndexKind,
    IndexSettings,
    ItemIndex,
)
from streamrec.contracts.errors import ArtifactError, InvalidInputError

LISTS = IndexSettings(exact_limit=0, list_count=32, probe_count=8)
EVERY_KIND = (
    IndexSettings(),
    LISTS,
    replace(LISTS, kind=IndexKind.IVF_FLAT),
    IndexSettings(exact_limit=0, kind=IndexKind.HNSW, neighbour_count=16, search_depth=64),
)


def vectors_of(count: int, dimension: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Clustered, as learned embeddings are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, dimension))
    return (centres[rng.integers(20, size=count)] + rng.normal(size=(count, dimension))).astype(np.float32)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"item-{number:05}" for number in range(count))


def brute_force(index: ItemIndex, query: NDArray[np.float32], count: int, exclude: set[str]) -> list[str]:
    scores = index.vectors.astype(np.float64) @ query
    order = sorted(range(len(index)), key=lambda row: (-scores[row], row))
    return [index.item_ids[row] for row in order if index.item_ids[row] not in exclude][:count]


def test_exact_search_equals_brute_force() -> None:
    index = ItemIndex.build(names(500), vectors_of(500))
    assert index.exact
    for seed in range(5):
        query = vectors_of(1, seed=seed + 10)[0]
        found = index.search(query, 40)
        assert list(found.item_ids) == brute_force(index, query, 40, set())
        np.testing.assert_allclose(
            found.scores, [index.vectors[index.row_of[item]] @ query for item in found.item_ids], rtol=1e-5
        )
        assert (np.diff(found.scores) <= 0).all()


def test_vectors_have_unit_length_and_cannot_be_changed() -> None:
    index = ItemIndex.build(names(50), np.vstack([vectors_of(49) * 7, np.zeros((1, 16), np.float32)]))
    np.testing.assert_allclose(np.linalg.norm(index.vectors[:49], axis=1), 1.0, rtol=1e-5)
    assert not index.vectors[49].any()
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0, 0] = 2.0


@pytest.mark.parametrize("settings", EVERY_KIND, ids=lambda settings: settings.kind)
def test_excluded_items_are_replaced_by_the_next_best(settings: IndexSettings) -> None:
    index = ItemIndex.build(names(3000), vectors_of(3000), settings)
    query = vectors_of(1, seed=99)[0]
    exclude = set(index.search(query, 700).item_ids) | {"item-never-heard-of"}
    found = index.search(query, 100, exclude)
    assert len(found) == 100
    assert not exclude & set(found.item_ids)
    expected = brute_force(index, query, 100, exclude)
    assert len(set(expected) & set(found.item_ids)) >= (100 if index.exact else 90)


@pytest.mark.parametrize("settings", EVERY_KIND, ids=lambda settings: settings.kind)
def test_the_whole_catalogue_can_be_asked_for(settings: IndexSettings) -> None:
    index = ItemIndex.build(names(2000), vectors_of(2000), settings)
    query = vectors_of(1, seed=5)[0]
    assert sorted(index.search(query, 5000).item_ids) == list(index.item_ids)
    assert index.search(query, 5000, index.item_ids[1:]).item_ids == index.item_ids[:1]
    assert len(index.search(query, 10, index.item_ids)) == 0
    assert len(index.search(query, 0)) == 0


def test_ties_go_to_the_lower_row_even_at_the_cut() -> None:
    # Better items behind a long row of equal ones: FAISS drops any of the equals for them.
    same, better = np.array([1, 1, 0], np.float32), np.array([1, 0, 0], np.float32)
    vectors = np.vstack([np.tile(same, (280, 1)), np.tile(better, (20, 1))])
    index = ItemIndex.build(names(300), vectors)
    found = index.search(better, 50, exclude=("item-00003", "item-00290"))
    assert list(found.item_ids) == [
        f"item-{row:05}" for row in (*range(280, 300), *range(32)) if row not in (3, 290)
    ]
    nothing_known = index.search(np.zeros(3, np.float32), 5)
    assert nothing_known.item_ids == index.item_ids[:5]


def test_lists_find_nearly_everything_that_exact_search_finds() -> None:
    vectors = vectors_of(20_000, dimension=32)
    exact = ItemIndex.build(names(20_000), vectors)
    lists = ItemIndex.build(
        names(20_000), vectors, IndexSettings(exact_limit=10_000, list_count=128, probe_count=64)
    )
    assert exact.exact
    assert not lists.exact
    recalls = []
    for query in vectors_of(40, dimension=32, seed=1):
        true, found = exact.search(query, 500), lists.search(query, 500)
        assert len(found) == 500
        recalls.append(len(set(true.item_ids) & set(found.item_ids)) / 500)
        # The scores are those of the exact vectors, not of their one-byte codes.
        rows = [lists.row_of[item] for item in found.item_ids]
        np.testing.assert_allclose(found.scores, lists.vectors[rows] @ query, rtol=1e-5, atol=1e-6)
    assert np.mean(recalls) >= 0.95


@pytest.mark.parametrize("settings", EVERY_KIND, ids=lambda settings: settings.kind)
def test_a_saved_index_answers_the_same(settings: IndexSettings, tmp_path: Path) -> None:
    index = ItemIndex.build(("a/b", "é", *names(1998)), vectors_of(2000), settings)
    index.save(tmp_path)
    again = ItemIndex.load(tmp_path)
    assert again.item_ids == index.item_ids
    assert again.settings == settings
    assert again.exact == index.exact
    np.testing.assert_array_equal(again.vectors, index.vectors)
    for query in vectors_of(5, seed=3):
        first, second = index.search(query, 50, ("é",)), again.search(query, 50, ("é",))
        assert first.item_ids == second.item_ids
        np.testing.assert_array_equal(first.scores, second.scores)


def test_a_graph_that_does_not_reach_an_item_still_returns_all_that_is_asked_for() -> None:
    # Copies of one vector make a graph fall apart: FAISS then returns fewer items than there are.
    vectors = np.vstack([np.tile(vectors_of(1), (400, 1)), vectors_of(200, seed=7)])
    index = ItemIndex.build(names(600), vectors, EVERY_KIND[-1])
    query = vectors_of(1, seed=9)[0]
    found = index.search(query, 590, exclude=("item-00000",))
    assert len(set(found.item_ids)) == 590
    assert (np.diff(found.scores) <= 0).all()


def test_searching_with_other_settings_shares_the_structure() -> None:
    index = ItemIndex.build(names(3000), vectors_of(3000), LISTS)
    thorough = index.searched_with(replace(LISTS, probe_count=32, rescored_share=2.0))
    query = vectors_of(1, seed=9)[0]
    expected = set(brute_force(index, query, 100, set()))
    shares = [len(expected & set(one.search(query, 100).item_ids)) for one in (index, thorough)]
    assert shares[0] <= shares[1] == 100
    with pytest.raises(InvalidInputError, match="another index"):
        index.searched_with(replace(LISTS, list_count=16))


def test_memory_counts_the_structure_and_the_vectors() -> None:
    vectors = vectors_of(2000)
    exact, coded = (ItemIndex.build(names(2000), vectors, one).memory_bytes() for one in EVERY_KIND[:2])
    assert exact >= 2 * vectors.nbytes
    assert vectors.nbytes < coded < exact


def test_building_twice_gives_the_same_index() -> None:
    first, second = (ItemIndex.build(names(2000), vectors_of(2000), LISTS) for _ in range(2))
    for query in vectors_of(5, seed=3):
        assert first.search(query, 50).item_ids == second.search(query, 50).item_ids


def test_what_cannot_be_indexed_is_refused() -> None:
    vectors = vectors_of(3)
    with pytest.raises(InvalidInputError, match="empty"):
        ItemIndex.build((), vectors[:0])
    with pytest.raises(InvalidInputError, match="more than one row"):
        ItemIndex.build(("a", "b", "a"), vectors)
    with pytest.raises(InvalidInputError, match="shape"):
        ItemIndex.build(("a", "b"), vectors)
    vectors[1, 4] = np.nan
    with pytest.raises(InvalidInputError, match="'b' is not finite"):
        ItemIndex.build(("a", "b", "c"), vectors)


def test_what_cannot_be_searched_is_refused() -> None:
    index = ItemIndex.build(names(3), vectors_of(3))
    with pytest.raises(InvalidInputError, match="finite"):
        index.search(np.full(16, np.nan, dtype=np.float32), 2)
    with pytest.raises(InvalidInputError, match="shape"):
        index.search(np.zeros(15, dtype=np.float32), 2)
    with pytest.raises(InvalidInputError, match="count"):
        index.search(np.zeros(16, dtype=np.float32), -1)


@pytest.mark.parametrize("file", [INDEX_FILE, VECTORS_FILE, SETTINGS_FILE])
@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_damaged_artifact_is_refused(file: str, damage: str, tmp_path: Path) -> None:
    ItemIndex.build(names(300), vectors_of(300)).save(tmp_path)
    path = tmp_path / file
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif file == SETTINGS_FILE:
        path.write_text('{"exact_limit": 5, "sort": true}')
    else:
        other = tmp_path / "other"
        ItemIndex.build(names(299), vectors_of(299)).save(other)
        path.write_bytes((other / file).read_bytes())
    with pytest.raises(ArtifactError, match=r"item index|items and"):
        ItemIndex.load(tmp_path)


def test_a_vector_that_is_not_finite_is_refused_when_read(tmp_path: Path) -> None:
    index = ItemIndex.build(names(30), vectors_of(30))
    index.save(tmp_path)
    vectors = index.vectors.copy()
    vectors[3, 4] = np.nan
    np.savez(tmp_path / VECTORS_FILE, item_ids=np.array(index.item_ids), vectors=vectors)
    with pytest.raises(ArtifactError, match="not finite"):
        ItemIndex.load(tmp_path)


@pytest.mark.parametrize("settings", EVERY_KIND)
def test_a_changed_copy_finds_new_items_and_never_removed_ones(settings: IndexSettings) -> None:
    index = ItemIndex.build(names(1200), vectors_of(1200), settings)
    new = vectors_of(40, seed=3)
    query = vectors_of(1, seed=4)[0]
    removed = set(index.search(query, 30).item_ids[::2])
    ids = tuple(f"new-{number:02}" for number in range(40))
    changed = index.with_changes(ids, new, {*removed, "unheard-of"})
    assert changed.item_ids[:1200] == index.item_ids
    np.testing.assert_array_equal(changed.vectors[:1200], index.vectors)
    for number in range(40):
        assert changed.search(new[number], 1).item_ids == (ids[number],)
    seen = set(names(1200)[100:160])
    found = changed.search(query, 60, exclude=seen | removed)
    assert removed.isdisjoint(found.item_ids)
    if index.exact:
        assert list(found.item_ids) == brute_force(changed, query, 60, seen | removed)
    # Everything is found where everything is asked for, and the index itself is as it was.
    assert set(changed.search(query, 10_000).item_ids) == {*index.item_ids, *ids} - removed
    assert set(index.search(query, 10_000).item_ids) == set(names(1200))


def test_what_is_hidden_keeps_its_vector_and_comes_back_with_another_copy() -> None:
    index = ItemIndex.build(names(50), vectors_of(50))
    hidden = index.with_changes((), np.empty((0, 16), np.float32), {"item-00007"})
    assert hidden.row_of["item-00007"] == 7
    assert hidden.search(index.vectors[7], 50).item_ids[0] != "item-00007"
    assert len(hidden.search(index.vectors[7], 50)) == 49
    assert (
        len(hidden.with_changes((), np.empty((0, 16), np.float32), names(50)).search(vectors_of(1)[0], 5))
        == 0
    )
    with pytest.raises(ArtifactError, match="hides items"):
        hidden.save(Path("nowhere"))


def test_a_change_that_does_not_fit_is_refused() -> None:
    index = ItemIndex.build(names(50), vectors_of(50))
    with pytest.raises(InvalidInputError, match="already"):
        index.with_changes(("item-00001",), vectors_of(1), ())
    with pytest.raises(InvalidInputError, match="16 columns"):
        index.with_changes(("new",), vectors_of(1, dimension=8), ())
    with pytest.raises(InvalidInputError, match="not finite"):
        index.with_changes(("new",), np.full((1, 16), np.nan, np.float32), ())
