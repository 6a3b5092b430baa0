from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.reranking.price_fit import fit_temperature
from services.recommendations.reranking.train import RerankingSettings, train
from services.recommendations.training_input import TrainingInput
from services.recommendations.types import Candidates, Segment, UserState
from streamrec.contracts.errors import InvalidInputError, NotReadyError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import Dataset
from streamrec.training.splits import leave_last_out

LANGUAGE_COUNT, ITEM_COUNT, USER_COUNT = 8, 1000, 100


def a_catalogue(codes):
    count = len(codes)
    return Catalogue(
        item_ids=tuple(f"i{row:04d}" for row in range(count)),
        titles=("",) * count,
        creator_ids=("c",) * count,
        creator_languages=tuple(f"l{code}" for code in codes),
        topics=((),) * count,
        published_at=np.full(count, "NaT", dtype="datetime64[s]"),
    )


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    rng = np.random.default_rng(5)
    shares = np.geomspace(1.0, 0.06, LANGUAGE_COUNT)
    shares /= shares.sum()
    codes = rng.choice(LANGUAGE_COUNT, size=ITEM_COUNT, p=shares)
    catalogue = a_catalogue(codes)
    interactions = pd.DataFrame(
        {
            "user_id": ["u"] * 3,
            "item_id": list(catalogue.item_ids[:3]),
            "timestamp": pd.to_datetime([1, 2, 3], unit="s", utc=True),
        }
    )
    users = pd.DataFrame({"user_id": ["u"]})
    dataset = Dataset(Path(tmp_path_factory.mktemp("data")), catalogue, interactions, users)
    ranked, held_out = [], []
    for user in range(USER_COUNT):
        own, second = rng.choice(LANGUAGE_COUNT, p=shares), rng.integers(LANGUAGE_COUNT)
        rows = rng.choice(ITEM_COUNT, size=200, replace=False)
        scores = rng.gumbel(size=200) + 2.0 * (codes[rows] == own) + (codes[rows] == second)
        candidates = Candidates.from_scores(tuple(catalogue.item_ids[row] for row in rows), scores)
        history = tuple(catalogue.item_ids[np.flatnonzero(codes == code)[0]] for code in (own, second))
        ranked.append((UserState(f"u{user}", Segment(language=f"l{own}"), history), candidates))
        probability = np.exp(candidates.scores.astype(float))
        held_out.append(candidates.item_ids[rng.choice(200, p=probability / probability.sum())])
    training = TrainingInput(dataset, leave_last_out(dataset), 7, SilentProgress())
    return training, ranked, held_out


@pytest.mark.parametrize("bound", [0.0, 0.005, 0.02])
def test_exposure_evens_out_and_the_relevance_loss_stays_within_its_bound(case, tmp_path, bound):
    training, ranked, held_out = case
    settings = RerankingSettings(maximum_relevance_loss=bound)
    metrics = train(training, settings, tmp_path, ranked=ranked, held_out=held_out).metrics
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["relevance_loss"] <= bound
    if bound == 0.02:
        assert metrics["exposure_gini"] < metrics["exposure_gini_before"] - 0.05


def test_without_a_bound_the_target_is_reached_and_the_artifact_does_what_the_metrics_say(case, tmp_path):
    training, ranked, held_out = case
    settings = RerankingSettings(target_gini=0.3, maximum_relevance_loss=1.0)
    spec = train(training, settings, tmp_path, ranked=ranked, held_out=held_out)
    assert spec.metrics["target_gini_reached"] == 1.0
    assert spec.metrics["exposure_gini"] <= 0.3 < spec.metrics["exposure_gini_before"]
    loaded = DiversityReranker.load(tmp_path)
    found = [loaded.rerank(candidates, user, 0.0).item_ids[:10] for user, candidates in ranked]
    places = [slate.index(item) for slate, item in zip(found, held_out, strict=True) if item in slate]
    ndcg = sum(1.0 / np.log2(place + 2.0) for place in places) / len(ranked)
    assert ndcg == pytest.approx(spec.metrics["held_out_ndcg@10"])


def test_the_same_input_gives_the_same_prices(case, tmp_path):
    training, ranked, held_out = case
    for name in ("first", "second"):
        train(training, RerankingSettings(), tmp_path / name, ranked=ranked[:30], held_out=held_out[:30])
    first, second = (DiversityReranker.load(tmp_path / name) for name in ("first", "second"))
    assert first.language_prices == second.language_prices


def test_temperature_undoes_a_scaling_of_the_scores(case):
    _, ranked, held_out = case
    scores = [candidates.scores for _, candidates in ranked]
    places = [candidates.item_ids.index(item) for (_, candidates), item in zip(ranked, held_out, strict=True)]
    plain = fit_temperature(scores, places)
    assert plain == pytest.approx(1.0, abs=0.25)
    assert fit_temperature([s * 5.0 for s in scores], places) == pytest.approx(5.0 * plain, rel=1e-3)
    assert fit_temperature(scores, [-1] * len(scores)) == 1.0


def test_lists_without_candidates_are_refused_and_stray_ones_are_passed_over(case, tmp_path):
    training, ranked, held_out = case
    empty = (UserState("nobody"), Candidates((), np.empty(0, dtype=np.float32)))
    with pytest.raises(NotReadyError):
        train(training, RerankingSettings(), tmp_path, ranked=[empty], held_out=["i0000"])
    train(training, RerankingSettings(), tmp_path, ranked=[empty, ranked[0]], held_out=["?", held_out[0]])
    with pytest.raises(InvalidInputError, match="held_out"):
        train(training, RerankingSettings(), tmp_path, ranked=ranked, held_out=[])
