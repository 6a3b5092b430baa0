from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.retrieval.catalogue_ranker import RetrieverAsCatalogueRanker
from services.recommendations.retrieval.content import ContentVocabulary
from services.recommendations.retrieval.examples import NextItemExamples
from services.recommendations.retrieval.model import (
    VOCABULARY_FILE,
    WEIGHTS_FILE,
    TwoTowerRetriever,
    TwoTowerWeights,
    segment_values,
)
from services.recommendations.retrieval.settings import RetrievalSettings
from services.recommendations.retrieval.towers import TwoTowers
from services.recommendations.retrieval.train import train
from services.recommendations.training.histories import segments_by_user
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import ArtifactError, InvalidInputError, PermanentError
from streamrec.contracts.items import Item
from streamrec.contracts.models import ModelSpec
from streamrec.datasets.catalogue import Catalogue
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState
from streamrec.training.baselines import Popularity
from streamrec.training.evaluation import evaluate
from streamrec.training.splits import leave_last_out


class Trained(NamedTuple):
    spec: ModelSpec
    folder: Path
    retriever: TwoTowerRetriever


@pytest.fixture(scope="module")
def trained(
    training: TrainingInput, settings: RetrievalSettings, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    folder = tmp_path_factory.mktemp("artifact")
    spec = train(training, settings, folder)
    return Trained(spec, folder, TwoTowerRetriever.load(folder))


def share_of(genre: str, items: tuple[str, ...]) -> float:
    return float(np.mean([item.startswith(genre) for item in items]))


def new_user(genre: str) -> UserState:
    return UserState("new", segment=Segment(country=f"land-of-{genre}"))


def test_it_learns_what_the_history_says(trained: Trained, training: TrainingInput) -> None:
    user = UserState("someone", history=("crime-03", "crime-20", "crime-11"))
    assert share_of("crime", trained.retriever.retrieve(user, 20).item_ids) >= 0.9
    popularity = Popularity.fit(training.split.train, len(training.dataset.catalogue))
    baseline = evaluate(popularity, training.split, seed=0).metrics["hit@10"]
    model = RetrieverAsCatalogueRanker(
        trained.retriever, training.split.catalogue, segments_by_user(training.dataset)
    )
    result = evaluate(model, training.split, seed=training.seed)
    assert result.metrics["hit@10"].low > 2 * baseline.value
    assert trained.spec.metrics["test_hit_at_10"] == pytest.approx(result.metrics["hit@10"].value)


def test_a_segment_speaks_for_a_user_without_history(trained: Trained) -> None:
    shares = [
        share_of(genre, trained.retriever.retrieve(new_user(genre), 20).item_ids)
        for genre in ("comedy", "crime", "nature", "sport")
    ]
    assert np.mean(shares) >= 0.75  # 0.25 would be chance
    nobody = trained.retriever.user_vector(UserState("nobody"))
    elsewhere = trained.retriever.user_vector(UserState("x", segment=Segment(country="never seen")))
    np.testing.assert_array_equal(nobody, elsewhere)
    assert np.linalg.norm(nobody) == pytest.approx(1.0, rel=1e-5)


def test_nothing_of_the_history_comes_back(trained: Trained, training: TrainingInput) -> None:
    catalogue = training.split.catalogue
    history = catalogue.item_ids[5:65]
    answer = trained.retriever.retrieve(UserState("u", history=history), 500)
    # More than the user tower looks at, and all of it is excluded.
    assert len(history) > trained.retriever.weights.recency.shape[1]
    assert sorted(answer.item_ids) == sorted(set(catalogue.item_ids) - set(history))
    assert (np.diff(answer.scores) <= 0).all()


def test_odd_histories_have_a_defined_answer(trained: Trained) -> None:
    retriever = trained.retriever
    known = ("crime-03", "sport-01")
    plain = retriever.user_vector(UserState("u", history=known))
    with_unknown = ("gone", "crime-03", "", "sport-01", "also gone")
    np.testing.assert_array_equal(plain, retriever.user_vector(UserState("u", history=with_unknown)))
    repeated = retriever.user_vector(UserState("u", history=("crime-03", "crime-03", "sport-01")))
    assert np.isfinite(repeated).all()
    assert not np.allclose(plain, repeated)
    all_unknown = retriever.user_vector(UserState("u", history=("gone",) * 50))
    np.testing.assert_array_equal(all_unknown, retriever.user_vector(UserState("u")))
    long = tuple(f"{genre}-{number % 40:02}" for number in range(5000) for genre in ("sport", "comedy"))
    answer = retriever.retrieve(UserState("u", history=long), 30)
    assert not {"sport", "comedy"} & {item.split("-")[0] for item in answer.item_ids}
    # Only the newest items count.
    length = retriever.weights.recency.shape[1]
    np.testing.assert_array_equal(
        retriever.user_vector(UserState("u", history=long)),
        retriever.user_vector(UserState("u", history=long[-length:])),
    )


def test_order_matters_to_the_user_vector(trained: Trained) -> None:
    forth = trained.retriever.user_vector(UserState("u", history=("crime-03", "sport-01")))
    back = trained.retriever.user_vector(UserState("u", history=("sport-01", "crime-03")))
    assert not np.allclose(forth, back, atol=1e-3)


def test_the_item_tower_places_an_item_it_was_not_trained_on_by_its_content(trained: Trained) -> None:
    known = ("crime-03", "sport-01")
    catalogue = Catalogue(
        item_ids=(*known, "new-crime", "new-nature", "new-without-content"),
        titles=("",) * 5,
        creator_ids=("studio-crime-0", "studio-sport-1", "studio-crime-1", UNKNOWN, UNKNOWN),
        creator_languages=("en", "en", "en", "en", UNKNOWN),
        topics=(("crime",), ("sport",), ("crime",), ("nature", "never seen"), ()),
        published_at=np.full(5, np.datetime64("NaT"), dtype="datetime64[s]"),
    )
    index = trained.retriever.index
    vectors = trained.retriever.item_vectors(catalogue)
    # What was trained on keeps its vector.
    np.testing.assert_array_equal(vectors[:2], index.vectors[[index.row_of[item] for item in known]])
    new_crime, new_nature, without_content = vectors[2:]
    assert not without_content.any()
    fan = trained.retriever.user_vector(UserState("fan", history=("crime-03", "crime-05", "crime-07")))
    assert fan @ new_crime > max(fan @ new_nature, 0.0)
    # No more than the 40 items of its genre lie nearer to a fan of the genre.
    assert int((index.vectors @ fan > fan @ new_crime).sum()) < 40


def test_an_item_that_is_put_is_found_by_its_content_and_a_removed_one_is_not(trained: Trained) -> None:
    log = MemoryItemLog()
    log.append(
        [
            Item("new-crime", "", "studio-crime-1", "en", ("crime",)),
            Item("bare"),
            Item("sport-01", "anew"),
            "crime-09",
        ]
    )
    log.refresh()
    changed = trained.retriever.with_items(log.current)
    assert len(changed.index) == len(trained.retriever.index) + 2
    fan = UserState("fan", history=("crime-03", "crime-05", "crime-07"))
    answer = changed.retrieve(fan, len(changed.index)).item_ids
    # Among the 40 of the genre that everyone knows, before what has nothing known about it.
    assert answer.index("new-crime") < answer.index("bare")
    assert answer.index("new-crime") < 40
    assert "crime-09" not in answer
    # It counts in a history at once, and so does what was removed.
    for item_id in ("new-crime", "crime-09"):
        vector = changed.user_vector(UserState("fan", history=(item_id,)))
        crime, sport = (
            changed.index.vectors[changed.index.row_of[name]] for name in ("crime-03", "sport-01")
        )
        assert vector @ crime > vector @ sport
    assert trained.retriever.with_items(ItemState()) is trained.retriever


def test_serving_equals_the_trained_towers(training: TrainingInput, settings: RetrievalSettings) -> None:
    catalogue = training.split.catalogue
    vocabulary = ContentVocabulary.build(catalogue, 2)
    values = segment_values(list(segments_by_user(training.dataset).values()))
    towers = TwoTowers(
        vocabulary.encode(catalogue), vocabulary, values, settings, torch.Generator().manual_seed(1)
    )
    weights, vectors = towers.export()
    retriever = TwoTowerRetriever(weights, ItemIndex.build(catalogue.item_ids, vectors))
    newest_first = [7, 30, 101]
    country = values["country"].index("land-of-crime")
    with torch.no_grad():
        history = towers.item_vectors(torch.tensor(newest_first))[None]
        expected = towers.user_vectors(history, torch.ones(1, 3), torch.tensor([[country, -1, -1, -1]]))
    user = UserState(
        "u",
        segment=Segment(country="land-of-crime", language="klingon"),
        history=tuple(catalogue.item_ids[row] for row in reversed(newest_first)),
    )
    np.testing.assert_allclose(retriever.user_vector(user), expected[0].numpy(), atol=1e-5)
    # An item without an id embedding is its content alone, in training as in `item_vectors`.
    with torch.no_grad():
        content_only = towers.item_vectors(torch.tensor([7]), torch.zeros(1, 1))[0].numpy()
    renamed = replace(catalogue, item_ids=tuple(f"new-{item}" for item in catalogue.item_ids))
    np.testing.assert_allclose(retriever.item_vectors(renamed)[7], content_only, atol=1e-5)


def test_a_saved_model_answers_the_same(trained: Trained, tmp_path: Path) -> None:
    trained.retriever.save(tmp_path)
    again = TwoTowerRetriever.load(tmp_path)
    for user in (UserState("a"), UserState("b", Segment(country="land-of-sport"), ("crime-03", "crime-05"))):
        first, second = trained.retriever.retrieve(user, 50), again.retrieve(user, 50)
        assert first.item_ids == second.item_ids
        np.testing.assert_array_equal(first.scores, second.scores)
    # Cold start reads the index alone.
    assert ItemIndex.load(tmp_path).item_ids == trained.retriever.index.item_ids


def test_the_same_seed_gives_the_same_model(
    trained: Trained, training: TrainingInput, settings: RetrievalSettings, tmp_path: Path
) -> None:
    short = replace(settings, epoch_count=1)
    first, second = (train(training, short, tmp_path / name) for name in ("first", "second"))
    assert first.metrics == second.metrics
    one, two = (ItemIndex.load(tmp_path / name).vectors for name in ("first", "second"))
    np.testing.assert_array_equal(one, two)
    assert first.settings_fingerprint == second.settings_fingerprint
    assert first.settings_fingerprint != trained.spec.settings_fingerprint
    other = train(replace(training, seed=4), short, tmp_path / "third")
    assert other.settings_fingerprint != first.settings_fingerprint
    assert not np.array_equal(ItemIndex.load(tmp_path / "third").vectors, one)


def test_the_spec_says_what_was_trained(trained: Trained, training: TrainingInput) -> None:
    spec = trained.spec
    assert spec.name == "recommendations-retrieval"
    assert spec.data_fingerprint == training.dataset.fingerprint
    assert {
        f"{on}_{metric}" for on in ("test", "validation") for metric in ("hit_at_10", "recall_at_500")
    } <= set(spec.metrics)
    assert [output.name for output in spec.signature.outputs] == ["user_vector", "item_ids", "scores"]
    assert {path.suffix for path in trained.folder.iterdir()} <= {".safetensors", ".npz", ".json", ".faiss"}


@pytest.mark.parametrize("damage", ["missing", "truncated", "another vocabulary", "another version", "NaN"])
def test_a_damaged_artifact_is_refused(trained: Trained, damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained.folder, folder)
    document = json.loads((folder / VOCABULARY_FILE).read_text())
    if damage == "missing":
        (folder / WEIGHTS_FILE).unlink()
    elif damage == "truncated":
        (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:100])
    elif damage == "another vocabulary":
        document["content_features"] = document["content_features"][1:]
    elif damage == "another version":
        document["format_version"] = 99
    else:
        broken = trained.retriever.weights
        bias = broken.bias.copy()
        bias[0] = np.nan
        with pytest.raises(InvalidInputError, match="bias"):
            replace(broken, bias=bias)
        return
    (folder / VOCABULARY_FILE).write_text(json.dumps(document))
    with pytest.raises(ArtifactError):
        TwoTowerRetriever.load(folder)


def test_weights_and_index_of_two_models_do_not_mix(trained: Trained) -> None:
    index = ItemIndex.build(("a",), np.ones((1, 5), dtype=np.float32))
    with pytest.raises(InvalidInputError, match="dimension 5"):
        TwoTowerRetriever(trained.retriever.weights, index)
    assert isinstance(trained.retriever.weights, TwoTowerWeights)


def test_examples_hold_only_the_past(training: TrainingInput) -> None:
    examples = NextItemExamples.of(training.split.train)
    train_items = training.split.train
    chosen = np.array([0, 5, int(train_items.offsets[1]), int(train_items.offsets[2]) + 3])
    histories = examples.histories(chosen, 4)
    assert histories[0].tolist() == [-1] * 4
    assert histories[1].tolist() == train_items.items[4:0:-1].tolist()
    # The first of the second user: nothing of the first user's.
    assert histories[2].tolist() == [-1] * 4
    start = int(train_items.offsets[2])
    assert histories[3].tolist() == [*train_items.items[start : start + 3][::-1].tolist(), -1]


def test_training_on_nothing_is_refused(
    training: TrainingInput, settings: RetrievalSettings, tmp_path: Path
) -> None:
    nothing = replace(training.dataset, interactions=training.dataset.interactions.iloc[:0])
    empty = TrainingInput(nothing, leave_last_out(nothing), 0, training.progress)
    with pytest.raises(InvalidInputError, match="no interactions"):
        train(empty, settings, tmp_path)
    few = replace(training.dataset, interactions=training.dataset.interactions.iloc[:2])
    unevaluated = TrainingInput(few, leave_last_out(few), 0, training.progress)
    with pytest.raises(InvalidInputError, match="none of the 2 users has 3 positive interactions"):
        train(unevaluated, settings, tmp_path)


def test_a_diverging_loss_stops_training(
    training: TrainingInput, settings: RetrievalSettings, tmp_path: Path
) -> None:
    with pytest.raises(PermanentError, match="learning_rate"):
        train(training, replace(settings, learning_rate=1e38), tmp_path)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"retrieval\.batch_size"):
        RetrievalSettings(batch_size=0)
    with pytest.raises(InvalidInputError, match=r"retrieval\.temperature"):
        RetrievalSettings(temperature=float("nan"))
    with pytest.raises(InvalidInputError, match=r"retrieval\.item_dropout"):
        RetrievalSettings(item_dropout=1.0)


def test_segments_are_those_of_the_users_table(training: TrainingInput) -> None:
    segments = segments_by_user(training.dataset)
    assert segments["user-001"] == Segment(country="land-of-crime", signup_channel="web")
    assert len(segments) == len(pd.unique(training.dataset.users["user_id"]))
