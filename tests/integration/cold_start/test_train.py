from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.recommendations.cold_start import train as training_module
from services.recommendations.cold_start.model import ColdStartModel
from services.recommendations.cold_start.popularity import LanguagePopularity
from services.recommendations.cold_start.pymc_fit import Diagnostics, UnreliablePosteriorError
from services.recommendations.cold_start.segments import SegmentDesign
from services.recommendations.cold_start.train import ColdStartSettings, train
from services.recommendations.contracts.candidates import Segment, UserState
from services.recommendations.item_index.index import ItemIndex
from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import InvalidInputError, NotReadyError, PermanentError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset
from streamrec.training.splits import leave_last_out

ITEMS, DIMENSION = 120, 6
SMALL = ColdStartSettings(
    hierarchy_dimensions=1, tune=250, draws=400, minimum_language_interactions=50, blend_users=60
)


def a_case(folder: Path, users: int, *, segments: bool, seed: int = 3):
    """Users of two languages who like items on opposite sides of the first axis."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(ITEMS, DIMENSION)) * [2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    catalogue = Catalogue(
        item_ids=tuple(f"i{row:03d}" for row in range(ITEMS)),
        titles=("",) * ITEMS,
        creator_ids=("c",) * ITEMS,
        creator_languages=("en",) * ITEMS,
        topics=((),) * ITEMS,
        published_at=np.full(ITEMS, "NaT", dtype="datetime64[s]"),
    )
    languages = np.where(rng.random(users) < 0.5, "fi", "en")
    rows = []
    for user, language in enumerate(languages):
        taste = rng.normal(size=DIMENSION) * 0.7 + np.eye(DIMENSION)[0] * (2.0 if language == "fi" else -2.0)
        weight = np.exp(2.0 * vectors @ taste)
        for item in rng.choice(ITEMS, size=8, replace=False, p=weight / weight.sum()):
            rows.append((f"u{user:03d}", catalogue.item_ids[item], len(rows)))
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    interactions["timestamp"] = pd.to_datetime(interactions["timestamp"], unit="s", utc=True)
    people = pd.DataFrame({"user_id": [f"u{user:03d}" for user in range(users)]})
    for column in SEGMENT_COLUMNS:
        people[column] = languages if segments and column == "language" else "unknown"
    dataset = Dataset(folder, catalogue, interactions, people)
    index = ItemIndex.build(catalogue.item_ids, vectors.astype(np.float32))
    return TrainingInput(dataset, leave_last_out(dataset), 5, SilentProgress()), index


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cold-start")
    training, index = a_case(folder, 150, segments=True)
    retrieval = ModelRef("recommendations-retrieval", 4)
    spec = train(training, SMALL, folder, index=index, retrieval=retrieval)
    return spec, ColdStartModel.load(folder, index), index


def test_it_learns_what_a_segment_likes(trained):
    _, model, index = trained
    means = {
        language: model.posterior(UserState("new", Segment(language=language))).mean
        for language in ("fi", "en", "unknown")
    }
    assert means["fi"][0] > means["unknown"][0] + 0.2
    assert means["en"][0] < means["unknown"][0] - 0.2
    rng = np.random.default_rng(0)
    slate = model.retrieve(UserState("new", Segment(language="fi")), 20, rng).item_ids
    assert np.mean([index.vectors[index.row_of[item], 0] for item in slate]) > 0.2


def test_the_specification_says_what_was_done(trained):
    spec, *_ = trained
    assert spec.name == "recommendations-cold-start"
    assert spec.depends_on == {"retrieval": ModelRef("recommendations-retrieval", 4)}
    assert spec.metrics["divergences"] == 0.0
    assert spec.metrics["maximum_r_hat"] <= 1.01
    assert spec.metrics["minimum_effective_samples"] >= 400.0
    assert all(np.isfinite(value) for value in spec.metrics.values())


def test_it_beats_popularity_on_items_it_has_not_seen(trained):
    metrics = trained[0].metrics
    assert metrics["ndcg@10"] > 1.15 * metrics["ndcg@10_popularity"]


def test_few_users_without_segments_are_enough(tmp_path):
    training, index = a_case(tmp_path, 6, segments=False)
    spec = train(training, SMALL, tmp_path, index=index, retrieval=None)
    model = ColdStartModel.load(tmp_path, index)
    assert spec.depends_on == {}
    answer = model.retrieve(UserState("new", Segment(language="fi")), 10, np.random.default_rng(0))
    assert len(answer) == 10


def test_bad_diagnostics_refuse_the_model(tmp_path):
    training, index = a_case(tmp_path / "data", 6, segments=False)
    settings = ColdStartSettings(hierarchy_dimensions=2, chains=2, tune=5, draws=5)
    with pytest.raises(UnreliablePosteriorError, match="nothing was registered") as caught:
        train(training, settings, tmp_path / "artifact", index=index, retrieval=None)
    assert isinstance(caught.value, PermanentError)
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize(
    ("diagnostics", "reliable"),
    [
        (Diagnostics(0, 1.01, 400.0), True),
        (Diagnostics(1, 1.0, 4000.0), False),
        (Diagnostics(0, 1.0101, 4000.0), False),
        (Diagnostics(0, 1.0, 399.0), False),
        (Diagnostics(0, float("nan"), 4000.0), False),
        (Diagnostics(0, 1.0, float("nan")), False),
    ],
)
def test_what_counts_as_reliable(diagnostics, reliable):
    assert diagnostics.reliable is reliable


def test_too_few_users_are_refused_with_the_number(tmp_path):
    training, index = a_case(tmp_path, 1, segments=False)
    with pytest.raises(NotReadyError, match="has 1"):
        train(training, SMALL, tmp_path, index=index, retrieval=None)


@pytest.mark.parametrize("field", ["draws", "hierarchy_dimensions", "exploration", "target_accept"])
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(InvalidInputError, match=field):
        ColdStartSettings(**{field: -1})


def test_serving_does_not_import_pymc():
    assert "pymc" not in vars(training_module)


def test_segment_columns_go_to_common_values_only():
    segments = [Segment(country="se", language="sv")] * 3 + [Segment(country="se", language="fi")] * 2
    segments += [Segment(country="se", language="tlh"), Segment(country="se")]
    design = SegmentDesign.from_segments(segments, minimum_users=2, maximum_levels=5)
    assert design.levels == ((), ("fi", "sv"), (), ())
    assert design.encode(Segment(language="sv")) == ([0, 2], [])
    assert design.encode(Segment(language="tlh")) == ([0], [1])
    assert design.matrix(segments)[:, 2].sum() == 3.0
    assert SegmentDesign.from_segments(segments, minimum_users=1, maximum_levels=1).levels[1] == ("sv",)


def test_popularity_of_a_language_is_shrunk_to_everybodys():
    items = np.array([0] * 60 + [1] * 30 + [2] * 10)
    languages = ["en"] * 90 + ["fi"] * 10
    popularity = LanguagePopularity.from_interactions(
        items, languages, 4, pseudo_interactions=10.0, minimum_interactions=10, maximum_languages=5
    )
    shares = np.exp(popularity.log_shares)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    everybody, finnish = shares[0], shares[popularity.group("fi")]
    assert everybody[2] < finnish[2] < 1.0
    assert finnish[2] == pytest.approx((10.0 + 10.0 * everybody[2]) / 20.0, rel=1e-5)
    assert shares[0, 3] > 0.0
    assert popularity.group("unheard of") == 0
    assert popularity.leaders[0].tolist() == [0, 1, 2, 3]
