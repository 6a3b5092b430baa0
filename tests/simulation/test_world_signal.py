"""The log holds what models are to learn: a long tail, personal taste, segments and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from services.recommendations.world.generate import generate_world
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.world import build_world
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.dataset import Dataset, load_dataset
from streamrec.stats.intervals import bootstrap_mean
from streamrec.training.ranking_metrics import ndcg_at, rank_of, top_unseen
from streamrec.training.splits import Split, leave_last_out

SETTINGS = WorldSettings(users=2_500, items=6_000, seed=301)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("world")
    generate_world(SETTINGS, folder, SilentProgress())
    return load_dataset(folder)


@pytest.fixture(scope="module")
def split(dataset: Dataset) -> Split:
    return leave_last_out(dataset)


def _transitions(split: Split, items: np.ndarray) -> sparse.csr_matrix:
    """How often each item follows each other one."""
    follows = split.train.users[1:] == split.train.users[:-1]
    pairs = (items[:-1][follows], items[1:][follows])
    size = len(split.catalogue)
    return sparse.csr_matrix((np.ones(len(pairs[0])), pairs), shape=(size, size))


@pytest.fixture(scope="module")
def ndcg(split: Split) -> dict[str, np.ndarray]:
    """NDCG@10 per user of popularity, item neighbours, and popularity after the last item."""
    items = len(split.catalogue)
    train, history = split.train.matrix(items), split.history.matrix(items)[split.evaluated]
    popularity = np.asarray(train.sum(axis=0)).ravel()
    scale = sparse.diags(1.0 / np.sqrt(np.maximum(popularity, 1.0)))
    together = sparse.csr_matrix(scale @ (train.T @ train) @ scale)
    chance = np.random.default_rng(0).random(len(split.train.items))
    shuffled = split.train.items[np.lexsort((chance, split.train.users))]
    last = np.array([split.history.of(int(user))[-1] for user in split.evaluated])
    scores = {
        "popularity": np.tile(popularity, (len(split.evaluated), 1)),
        "neighbours": (history @ together).toarray(),
        "markov": _transitions(split, split.train.items)[last].toarray() + 1e-6 * popularity,
        "markov, shuffled": _transitions(split, shuffled)[last].toarray() + 1e-6 * popularity,
    }
    return {
        name: ndcg_at(rank_of(top_unseen(value.astype(np.float32), history), split.test), 10)
        for name, value in scores.items()
    }


def test_popularity_has_a_long_tail(split: Split):
    counts = np.sort(np.bincount(split.train.items, minlength=len(split.catalogue)))[::-1]
    assert counts[: len(counts) // 100].sum() > 0.1 * counts.sum()
    assert counts[: len(counts) // 5].sum() > 0.6 * counts.sum()
    assert (counts > 0).mean() > 0.4


@pytest.mark.parametrize("model", ["neighbours", "markov"])
def test_personal_and_sequential_models_beat_popularity(ndcg: dict[str, np.ndarray], model: str):
    gain = bootstrap_mean(ndcg[model] - ndcg["popularity"], rng=np.random.default_rng(0))
    assert gain.low > 0.02


def test_a_model_of_the_last_item_needs_the_true_order(ndcg: dict[str, np.ndarray]):
    gain = bootstrap_mean(ndcg["markov"] - ndcg["markov, shuffled"], rng=np.random.default_rng(0))
    assert gain.low > 0.02


def test_interest_moves_on_in_one_direction(split: Split):
    """From page to page a topic is followed by its hidden successors, not the other way round."""
    world = build_world(SETTINGS)
    topic, train = world.catalogue.topics[:, 0], split.train
    later = (train.users[1:] == train.users[:-1]) & (np.diff(train.timestamps) > 1_000)
    first, then = topic[train.items[:-1][later]], topic[train.items[1:][later]]
    forward = (world.effects.successors[first] == then[:, None]).any(axis=1).mean()
    backward = (world.effects.successors[then] == first[:, None]).any(axis=1).mean()
    assert forward > 1.4 * backward
    assert forward > 0.08


def test_segments_say_what_new_users_want(dataset: Dataset):
    """The country alone tells which languages and topics a user's interactions are about."""
    country = dataset.users.set_index("user_id")["country"]
    rows = dataset.catalogue.rows(dataset.interactions["item_id"])
    codes, names = country[dataset.interactions["user_id"]].factorize()
    main_topics = sorted({topics[0] for topics in dataset.catalogue.topics})
    topic = np.array([main_topics.index(topics[0]) for topics in dataset.catalogue.topics])
    for value, least in ((dataset.catalogue.language_codes, 0.2), (topic, 0.02)):
        joint = np.zeros((len(names), value.max() + 1))
        np.add.at(joint, (codes, value[rows]), 1.0)
        joint /= joint.sum()
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        information = (joint * np.log(np.maximum(joint, 1e-12) / independent)).sum()
        assert information > least
