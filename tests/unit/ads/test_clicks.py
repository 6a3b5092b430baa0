from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from services.ads.clicks.model import FEATURES, WEIGHTS_FILE, ClickModel
from services.ads.clicks.predictor import load
from services.ads.clicks.simulated_clicks import simulated_clicks
from streamrec.contracts.errors import ArtifactError

GOOD = {"means": np.zeros(3), "scales": np.ones(3), "weights": np.array([2.0, -1.0, 0.0]), "bias": 0.5}


def requests(*rows):
    return pd.DataFrame(rows, columns=list(FEATURES))


def test_a_saved_model_answers_as_before(tmp_path):
    model = ClickModel(np.array([1.0, 0.0, 0.0]), np.array([2.0, 1.0, 1.0]), GOOD["weights"], 0.5)
    model.save(tmp_path)
    scores = load(tmp_path, {}).predict(requests((1.0, 0.0, 9.0), (3.0, 1.0, 0.0)))["score"]
    # By hand: sums of 0.5 and of 2 * (3 - 1) / 2 - 1 + 0.5.
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(-1.5))], rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"bias": None}, "holds no click model"),
        ({"weights": np.ones(2)}, "must hold 3 numbers"),
        ({"weights": np.array([1.0, np.nan, 0.0])}, "a number that is none"),
        ({"scales": np.array([1.0, 0.0, 1.0])}, "not positive"),
        ({"bias": np.inf}, "a number that is none"),
        ({"means": np.array([{}, {}, {}], dtype=object)}, "allow_pickle"),
    ],
)
def test_an_artifact_that_is_no_model_is_refused(tmp_path, changed, problem):
    arrays = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    np.savez(tmp_path / WEIGHTS_FILE, allow_pickle=True, **arrays)
    with pytest.raises(ArtifactError, match=problem):
        ClickModel.load(tmp_path)


def test_clicks_are_drawn_alike_from_one_seed_and_follow_the_relevance():
    shown = simulated_clicks(np.random.default_rng(3), shown=2_000, users=100)
    pd.testing.assert_frame_equal(shown, simulated_clicks(np.random.default_rng(3), shown=2_000, users=100))
    assert shown["at"].is_monotonic_increasing
    clicked = shown["label"] == 1.0
    assert shown["relevance"][clicked].mean() > shown["relevance"][~clicked].mean() + 0.5
    assert shown.groupby("unit")["group.country"].nunique().max() == 1
