"""A threshold for each group: fitted, applied, and read from an artifact."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.contracts.specification.fairness_policy import FairnessMetric, FairnessPolicy
from streamrec.gates.fairness.groups import partitions
from streamrec.gates.fairness.thresholds import (
    THRESHOLDS_FILE,
    GroupThresholds,
    fit_group_thresholds,
    with_group_thresholds,
)
from tests.made_predictions import texts

POLICY = FairnessPolicy(attributes=("language",))
TOLERANCES = {FairnessMetric.TPR: 0.1, FairnessMetric.FPR: 0.1}


class Scores:
    """A predictor that says what the requests say."""

    def predict(self, requests):
        return pd.DataFrame({"score": requests["raw"].to_numpy()})


def shifted_scores(rows=4_000, shift=0.2):
    rng = np.random.default_rng(11)
    languages = rng.permutation(np.resize(["de", "hi"], rows))
    labels = rng.integers(0, 2, rows).astype(float)
    scores = 0.4 + 0.25 * labels - shift * (languages == "hi") + rng.normal(0.0, 0.1, rows)
    return labels, np.clip(scores, 0.0, 1.0), languages


def part_of(languages):
    return next(iter(partitions({"language": texts(languages)}, POLICY)))


def test_thresholds_even_out_what_one_threshold_does_not_and_say_what_that_costs():
    labels, scores, languages = shifted_scores()
    fitted = fit_group_thresholds(part_of(languages), labels, scores, POLICY, TOLERANCES, 0.5)
    assert fitted.before["largest_excess"] > 5.0
    assert fitted.after["largest_excess"] <= 0.5
    own = fitted.thresholds.thresholds
    assert own["language=de"] - own["language=hi"] == pytest.approx(0.2, abs=0.05)
    moved = fitted.thresholds.applied(scores, part_of(languages))
    assert ((moved >= 0.5) == (labels == 1.0)).mean() == pytest.approx(fitted.after["accuracy"])
    assert fitted.before["accuracy"] == ((scores >= 0.5) == (labels == 1.0)).mean()


def test_where_scores_say_nothing_of_a_group_the_nearest_thresholds_are_found():
    labels, scores, languages = shifted_scores()
    noise = np.where(languages == "hi", np.random.default_rng(2).uniform(size=len(scores)), scores)
    fitted = fit_group_thresholds(part_of(languages), labels, noise, POLICY, TOLERANCES, 0.5)
    assert fitted.after["largest_excess"] <= fitted.before["largest_excess"]


def test_one_group_or_other_metrics_have_no_thresholds():
    labels, scores, languages = shifted_scores()
    alone = part_of(["de"] * len(labels))
    assert fit_group_thresholds(alone, labels, scores, POLICY, TOLERANCES, 0.5) is None
    other = {FairnessMetric.CALIBRATION: 0.1}
    assert fit_group_thresholds(part_of(languages), labels, scores, POLICY, other, 0.5) is None


@pytest.mark.parametrize(
    ("chances", "scores"), [(True, [0.1, 0.3, 0.9, 0.49]), (False, [-3.0, 0.3, 7.0, 0.49])]
)
def test_within_a_group_the_order_of_scores_stays_and_others_keep_theirs(chances, scores):
    thresholds = GroupThresholds(("language",), 0.5, {"language=hi": 0.3}, chances)
    languages = ["hi", "hi", "hi", "de"]
    moved = thresholds.applied(np.array(scores), part_of(languages))
    assert (np.diff(moved[:3]) > 0).all()
    assert moved[1] == pytest.approx(0.5)
    assert moved[3] == pytest.approx(0.49)


def test_a_mitigated_version_reads_its_thresholds_from_the_artifact(tmp_path):
    with pytest.raises(ArtifactError, match=THRESHOLDS_FILE):
        with_group_thresholds(Scores(), tmp_path)
    kept = GroupThresholds(("language",), 0.5, {"language=hi": 0.3})
    (tmp_path / THRESHOLDS_FILE).write_text(json.dumps(kept.to_json()))
    predictor = with_group_thresholds(Scores(), tmp_path)
    requests = pd.DataFrame({"raw": [0.3, 0.3, 0.3], "language": ["hi", "de", None]})
    assert (predictor.predict(requests)["score"] >= 0.5).tolist() == [True, False, False]
    with pytest.raises(InvalidInputError, match="language: must be a column of the requests"):
        predictor.predict(requests.drop(columns="language"))
    (tmp_path / THRESHOLDS_FILE).write_text('{"threshold": 0.5}')
    with pytest.raises(ArtifactError, match="attributes"):
        with_group_thresholds(Scores(), tmp_path)
