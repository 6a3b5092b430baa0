from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.reranking.calibration import Calibration, fit_calibration
from services.recommendations.reranking.model import DiversityReranker
from services.recommendations.reranking.train import RerankingSettings, places_of, train
from services.recommendations.training.input import TrainingInput
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
    assert first.exposure_prices == second.exposure_prices


def test_calibration_undoes_a_scaling_of_the_scores(case):
    _, ranked, held_out = case
    scores = [candidates.scores for _, candidates in ranked]
    places = places_of(ranked, held_out)
    known = [20] * len(scores)
    plain = fit_calibration(scores, known, places, 10).groups[-1]
    assert plain.score_weight == pytest.approx(1.0, abs=0.35)
    scaled = fit_calibration([s * 5.0 for s in scores], known, places, 10).groups[-1]
    assert scaled.score_weight == pytest.approx(plain.score_weight / 5.0, rel=0.02)
    assert fit_calibration(scores, known, [-1] * len(scores), 10) == Calibration()


@pytest.mark.parametrize("true", [(1.0, 0.0, 1.5), (0.0, 1.2, 0.0), (0.7, 0.5, 0.5)])
def test_calibration_finds_what_scores_and_ranks_are_worth(true):
    rng = np.random.default_rng(4)
    scores, places, positions = [], [], np.arange(200)
    for _ in range(3000):
        drawn = -np.sort(-rng.normal(size=200)).astype(np.float32)
        logits = true[0] * drawn - true[1] * np.log1p(positions) - true[2] * (positions >= 50)
        probability = np.exp(logits.astype(float))
        places.append(int(rng.choice(200, p=probability / probability.sum())))
        scores.append(drawn)
    found = fit_calibration(scores, [9] * 3000, places, 10).groups[-1]
    assert found.score_weight == pytest.approx(true[0], abs=0.2)
    assert found.rank_discount == pytest.approx(true[1], abs=0.2)
    assert found.tail_discount == pytest.approx(true[2], abs=0.3)
    relevance = found.relevance(scores[0], 10)
    assert relevance.sum() == pytest.approx(1.0)
    assert (np.diff(relevance) <= 0).all()


def test_users_with_few_interactions_have_a_calibration_of_their_own(case):
    _, ranked, held_out = case
    interactions = [(0, 9)[row % 2] for row in range(len(ranked))]
    scores = [
        candidates.scores * (0.25 if count == 0 else 1.0)
        for (_, candidates), count in zip(ranked, interactions, strict=True)
    ]
    found = fit_calibration(scores, interactions, places_of(ranked, held_out), 10)
    without, few, known = found.groups
    assert without.score_weight > 2.0 * known.score_weight
    assert few == known, "nobody has one to four: they are taken for known users"


def test_lists_without_candidates_are_refused_and_stray_ones_are_passed_over(case, tmp_path):
    training, ranked, held_out = case
    empty = (UserState("nobody"), Candidates((), np.empty(0, dtype=np.float32)))
    with pytest.raises(NotReadyError):
        train(training, RerankingSettings(), tmp_path, ranked=[empty], held_out=["i0000"])
    train(training, RerankingSettings(), tmp_path, ranked=[empty, ranked[0]], held_out=["?", held_out[0]])
    with pytest.raises(InvalidInputError, match="held_out"):
        train(training, RerankingSettings(), tmp_path, ranked=ranked, held_out=[])


def test_the_limit_for_a_controller_is_what_the_relevance_bound_allows(case, tmp_path):
    training, ranked, held_out = case
    gentle = RerankingSettings(target_gini=0.45, maximum_relevance_loss=0.05)
    metrics = train(training, gentle, tmp_path, ranked=ranked, held_out=held_out).metrics
    assert metrics["target_gini_reached"] == 1.0
    assert metrics["price_strength_limit"] > metrics["price_strength"] > 0.0
    unreachable = RerankingSettings(target_gini=0.05, maximum_relevance_loss=0.005)
    metrics = train(training, unreachable, tmp_path, ranked=ranked, held_out=held_out).metrics
    assert metrics["target_gini_reached"] == 0.0
    assert metrics["price_strength_limit"] == metrics["price_strength"]


def test_requests_count_by_their_weight(case, tmp_path):
    training, ranked, held_out = case
    of_one_kind = [float(user.segment.language == "l0") for user, _ in ranked]
    weighted = train(
        training, RerankingSettings(), tmp_path, ranked=ranked, held_out=held_out, weights=of_one_kind
    )
    alone = [row for row, weight in enumerate(of_one_kind) if weight]
    dropped = train(
        training,
        RerankingSettings(),
        tmp_path,
        ranked=[ranked[row] for row in alone],
        held_out=[held_out[row] for row in alone],
    )
    assert weighted.metrics == pytest.approx(dict(dropped.metrics))
    with pytest.raises(InvalidInputError, match="weights"):
        train(training, RerankingSettings(), tmp_path, ranked=ranked, held_out=held_out, weights=[1.0])
