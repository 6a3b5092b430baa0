"""The value of a policy from another one's log."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.off_policy import inverse_propensity_value, monte_carlo_propensity

REPETITIONS = 1_000
USERS = 400
ITEMS = 5
POSITIONS = 2
DRAWS = 199


def shares(scores):
    powers = np.exp(scores)
    return powers / powers.sum(axis=-1, keepdims=True)


class Log:
    """Users with tastes and several impressions each; a softmax policy whose chances are only ever drawn."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.rng = rng
        kinds = rng.normal(size=(3, POSITIONS, ITEMS))
        self.served, self.candidate = shares(0.6 * kinds), shares(rng.normal(size=kinds.shape))
        self.rates = rng.uniform(0.05, 0.6, size=kinds.shape)
        # Users of a kind are worth more or less by a factor with mean 1; active ones have more impressions.
        self.truth = float(
            np.einsum("kpi,kpi,k->", self.candidate, self.rates, np.array([0.5, 0.3, 0.2]) * [1, 2, 4])
            / np.dot([0.5, 0.3, 0.2], [1, 2, 4])
        )

    def draw(self):
        rng = self.rng
        kinds = rng.choice(3, size=USERS, p=[0.5, 0.3, 0.2])
        factors = rng.uniform(0.4, 1.6, size=USERS)
        users = np.repeat(np.arange(USERS), np.array([1, 2, 4])[kinds])
        of = kinds[users]
        thresholds = self.served.cumsum(axis=2)[of]
        items = (rng.random((len(users), POSITIONS, 1)) > thresholds).sum(axis=2).clip(max=ITEMS - 1)
        place = (of[:, None], np.arange(POSITIONS), items)
        outcomes = (rng.random(items.shape) < self.rates[place] * factors[users][:, None]).astype(float)
        hits = rng.binomial(DRAWS, self.served[place])
        return outcomes, self.candidate[place], monte_carlo_propensity(hits, DRAWS), users


@pytest.fixture(scope="module")
def estimates():
    log = Log(seed=20)
    return log.truth, [inverse_propensity_value(*log.draw()) for _ in range(REPETITIONS)]


@pytest.mark.parametrize("which", ["value", "self_normalised"])
def test_the_interval_covers_the_known_value_of_a_policy_as_often_as_it_says(estimates, which):
    truth, found = estimates
    intervals = [getattr(one, which) for one in found]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.93 <= covered <= 0.97
    assert np.mean([interval.value for interval in intervals]) == pytest.approx(truth, rel=0.01)
    assert intervals[0].n == USERS


def test_impressions_that_count_as_certain_give_a_wrong_value():
    log = Log(seed=20)
    covered = 0
    for _ in range(100):
        outcomes, candidate, _logged, users = log.draw()
        interval = inverse_propensity_value(outcomes, candidate, np.ones_like(candidate), users).value
        covered += interval.low <= log.truth <= interval.high
    assert covered == 0


def test_the_policy_that_served_is_worth_what_was_logged():
    outcomes, _candidate, logged, users = Log(seed=1).draw()
    found = inverse_propensity_value(outcomes, logged, logged, users)
    assert found.value.value == pytest.approx(outcomes.sum(axis=1).mean())
    assert found.self_normalised.value == pytest.approx(found.value.value)
    assert found.effective_sample_size == pytest.approx(len(users))
    assert found.impressions == len(users)


def test_a_user_counts_once_however_many_impressions_repeat():
    outcomes = np.array([[1.0], [0.0], [1.0], [0.0]])
    ones = np.ones_like(outcomes)
    once = inverse_propensity_value(outcomes, ones, ones, np.arange(4))
    again = inverse_propensity_value(
        np.repeat(outcomes, 9, axis=0), np.ones((36, 1)), np.ones((36, 1)), np.repeat(np.arange(4), 9)
    )
    assert again.value == once.value


def test_a_policy_that_shows_nothing_of_the_log_has_no_normalised_value():
    outcomes = np.ones((3, 1))
    found = inverse_propensity_value(outcomes, np.zeros((3, 1)), np.ones((3, 1)), np.arange(3))
    assert (found.value.value, found.self_normalised, found.effective_sample_size) == (0.0, None, 0.0)


def test_the_inverse_of_a_drawn_propensity_has_almost_no_bias():
    hits = np.random.default_rng(3).binomial(99, 0.1, size=200_000)
    assert np.mean(1.0 / monte_carlo_propensity(hits, 99)) == pytest.approx(10.0, rel=0.01)
    assert monte_carlo_propensity(np.array([0, 99]), 99).tolist() == [0.01, 1.0]


@pytest.mark.parametrize(("hits", "draws"), [([1], 0), ([-1], 9), ([10], 9), ([], 9)])
def test_impossible_hits_are_refused(hits, draws):
    with pytest.raises(ValueError, match="hits"):
        monte_carlo_propensity(np.array(hits, dtype=np.int64), draws)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logged": [[0.0], [0.5]]}, "cannot have been shown"),
        ({"logged": [[1.5], [0.5]]}, "between 0 and 1"),
        ({"candidate": [[np.nan], [0.5]]}, "between 0 and 1"),
        ({"outcomes": [[np.inf], [0.5]]}, "finite"),
        ({"outcomes": [[1.0, 1.0], [0.5, 0.5]]}, "one shape"),
        ({"users": [1]}, "users"),
        ({"users": [1, 1]}, "two or more"),
    ],
)
def test_what_cannot_be_estimated_is_refused(change, message):
    whole = {
        "outcomes": [[1.0], [0.0]],
        "candidate": [[1.0], [1.0]],
        "logged": [[0.5], [0.5]],
        "users": [1, 2],
    }
    arrays = {name: np.array(value) for name, value in (whole | change).items()}
    with pytest.raises(ValueError, match=message):
        inverse_propensity_value(**arrays)
