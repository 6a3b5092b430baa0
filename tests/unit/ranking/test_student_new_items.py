"""What the student expects of items that it was not trained on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.segments import SegmentTable
from services.recommendations.ranking.settings import FeatureSettings
from services.recommendations.ranking.student.export import serving_weights
from services.recommendations.ranking.student.features import FeatureTables
from services.recommendations.ranking.student.model import StudentRanker
from services.recommendations.ranking.student.network import StudentNetwork
from services.recommendations.ranking.student.new_items import ContentRegression, ItemContent, nearest
from services.recommendations.ranking.student.settings import StudentNetworkSettings
from streamrec.contracts.items import Item
from streamrec.items.memory_item_log import MemoryItemLog
from streamrec.items.state import ItemState


def state(*changes) -> ItemState:
    log = MemoryItemLog()
    log.append(changes)
    log.refresh()
    return log.current


@pytest.fixture(scope="module")
def student(training) -> StudentRanker:
    """Not distilled: the network as it begins, over vectors that follow from content."""
    catalogue = training.split.catalogue
    tables = FeatureTables.of(
        CandidateTables.fit(
            training.split.train,
            catalogue,
            FeatureSettings(history_length=20, transition_window=3, neighbour_count=20),
        ),
        dict.fromkeys(FEATURES, 0.1),
    )
    rng = np.random.default_rng(3)
    of_topic = rng.normal(size=(tables.topics.width, 8))
    vectors = np.zeros((len(catalogue), 8), dtype=np.float32)
    for row, topics in enumerate(catalogue.topics):
        vectors[row] = sum((of_topic[tables.topic_names.index(topic)] for topic in topics), np.zeros(8))
    settings = StudentNetworkSettings(dimension=8, head_count=2, history_length=10, hidden_size=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = StudentNetwork(settings, vectors, np.zeros(len(catalogue), np.float32), (0, 0, 0, 0))
    segments = SegmentTable.of([Segment()])
    return StudentRanker(catalogue.item_ids, settings, serving_weights(network), segments, tables)


def test_rows_follow_content_and_creators_are_shrunk(student):
    tables = student.features
    content = ItemContent.of_tables(tables)
    rows = (2.0 * tables.languages[:, None] + 0.5 * (tables.creators == 3)[:, None]).astype(np.float32)
    regression = ContentRegression(content, rows, len(tables.language_names))
    new = ItemContent.of_items(
        [
            Item("x", creator_language="hi"),
            Item("y", creator_language="en"),
            Item("z"),
            Item("w", creator_id="c3"),
        ],
        tables,
    )
    predicted = regression.predict(new)[:, 0]
    assert predicted[0] > predicted[1]
    assert 0.0 < predicted[3] - predicted[2] < 0.5


def test_a_new_item_has_the_vectors_of_its_topics(student):
    put = state(
        Item("new-0", topics=("t0", "all")), Item("new-4", topics=("t4", "all")), Item("i03", "again"), "i05"
    )
    extended = student.with_items(put)
    assert extended.item_ids == (*student.item_ids, "new-0", "new-4")
    outputs = extended.weights.outputs
    np.testing.assert_array_equal(outputs[:60], student.weights.outputs)
    for row, topic in ((60, "t0"), (61, "t4")):
        same = [r for r in range(60) if topic in _topics(student, r)]
        other = [r for r in range(60) if topic not in _topics(student, r)]
        assert (
            _cosine(outputs[same], outputs[row]).mean() > _cosine(outputs[other], outputs[row]).mean() + 0.1
        )


def test_new_items_are_scored_among_the_others_and_the_others_as_before(student):
    extended = student.with_items(
        state(
            Item("new", "", "c0", "hi", ("t0", "never heard"), datetime(1975, 1, 1, tzinfo=UTC)), Item("bare")
        )
    )
    user = UserState("u", history=("i01", "i02", "i04"))
    before = student.rank(user, Candidates.from_scores(student.item_ids, np.zeros(60)))
    after = extended.rank(user, Candidates.from_scores((*student.item_ids, "new", "bare"), np.zeros(62)))
    scores = dict(zip(after.item_ids, after.scores.tolist(), strict=True))
    for item_id, score in zip(before.item_ids, before.scores.tolist(), strict=True):
        assert scores[item_id] == pytest.approx(score, abs=1e-5)
    assert min(before.scores) < scores["new"] < max(before.scores)
    # And it counts in a history.
    fan = extended.rank(
        UserState("u", history=("new",)), Candidates.from_scores(student.item_ids, np.zeros(60))
    )
    assert not np.allclose(fan.scores, extended.rank(UserState("u"), fan).scores)


def test_without_new_items_it_is_the_same_model(student):
    assert student.with_items(ItemState()) is student
    assert student.with_items(state(Item("i03"), "i05")) is student


def test_an_artifact_of_an_earlier_release_goes_by_language_and_year(student, tmp_path):
    old = StudentRanker(
        student.item_ids,
        student.settings,
        student.weights,
        student.segment_table,
        replace(student.features, creator_names=(), topic_names=()),
    )
    old.save(tmp_path)
    extended = StudentRanker.load(tmp_path).with_items(state(Item("new", "", "c0", "hi", ("t0",))))
    assert extended.features.creators[-1] == -1
    assert extended.features.languages[-1] >= 0
    student.save(tmp_path / "new")
    assert StudentRanker.load(tmp_path / "new").features.topic_names == student.features.topic_names


def _topics(student, row):
    topics = student.features.topics
    columns = topics.columns[topics.starts[row] : topics.starts[row + 1]]
    return {student.features.topic_names[column] for column in columns}


def _cosine(rows, row):
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(row)
    return rows @ row / np.maximum(norms, 1e-9)


def test_a_new_item_follows_what_its_neighbours_follow(student):
    extended = student.with_items(state(Item("new", topics=("t0", "all")), Item("bare")))
    neighbours = nearest(student.weights.outputs, extended.weights.outputs[60:])
    assert neighbours.sum(axis=0).tolist() == [[pytest.approx(1.0), pytest.approx(1.0)]]
    for name in ("transitions", "co_visitation"):
        before, after = (_dense(getattr(model.features, name)) for model in (student, extended))
        np.testing.assert_array_equal(after[:60, :60], before)
        np.testing.assert_allclose(after[:60, 60:], before @ neighbours.toarray(), atol=1e-6)
        assert not after[60:].any()  # nothing is known to follow it
    popularity = extended.features.popularity
    np.testing.assert_allclose(popularity[60:], student.features.popularity @ neighbours.toarray(), rtol=1e-5)


def _dense(rows):
    columns, values, lengths = rows.gather(np.arange(len(rows.starts) - 1))
    dense = np.zeros((len(lengths), rows.width))
    dense[np.arange(len(lengths)).repeat(lengths), columns] = values
    return dense
