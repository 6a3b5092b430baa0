from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from services.recommendations.cold_start.artifact import ARRAYS_FILE, SETTINGS_FILE
from services.recommendations.cold_start.canonical_basis import CanonicalBasis
from services.recommendations.cold_start.model import ColdStartModel, Posterior
from services.recommendations.contracts.candidates import ColdStarter, Segment, UserState
from services.recommendations.item_index.index import ItemIndex
from streamrec.contracts.errors import ArtifactError


def rng(seed=0):
    return np.random.default_rng(seed)


def user(*history, language="unknown"):
    return UserState("u", Segment(language=language), tuple(history))


@pytest.mark.parametrize("click_weight", [1.0, 0.4])
def test_posterior_is_that_of_numerical_integration(click_weight):
    mixing = np.array([[1.0, 0.4], [-0.3, 0.8]])
    basis = CanonicalBasis(mixing, np.linalg.inv(mixing), np.zeros(2), np.ones(2))
    prior = Posterior(basis, np.array([0.3, -0.2]), np.array([1.0 / 0.9, 1.0 / 0.4]), click_weight)
    clicks = rng(1).normal(size=(3, 2))
    posterior = prior
    for click in clicks:
        posterior = posterior.observed(click @ basis.to_canonical, 1)
    axis = np.linspace(-6.0, 6.0, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    # Unit noise in the basis is W = T^-T T^-1 in the embedding space.
    noise = basis.from_canonical.T @ basis.from_canonical
    log_density = multivariate_normal(prior.mean, prior.covariance).logpdf(grid)
    for click in clicks:
        log_density += click_weight * multivariate_normal(click, noise).logpdf(grid)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = (density[..., None] * grid).sum(axis=(0, 1))
    centred = grid - mean
    covariance = np.einsum("ij,ija,ijb->ab", density, centred, centred)
    np.testing.assert_allclose(posterior.mean, mean, atol=1e-6)
    np.testing.assert_allclose(posterior.covariance, covariance, atol=1e-6)


def test_order_of_clicks_does_not_matter_and_neither_does_one_by_one_or_all_at_once(model):
    items = ("item-3", "item-70", "item-12")
    at_once = model.posterior(user(*items, language="fi"))
    for order in permutations(items):
        stepwise = model.posterior(user(language="fi"))
        for item in order:
            coordinates = model.item_coordinates[model.index.row_of[item]]
            stepwise = stepwise.observed(coordinates.astype(np.float64), 1)
        np.testing.assert_allclose(stepwise.mean, at_once.mean, atol=1e-5)
        np.testing.assert_allclose(stepwise.covariance, at_once.covariance, atol=1e-6)


def test_draws_have_the_mean_and_the_covariance_of_the_posterior(model):
    posterior, random = model.posterior(user("item-3")), rng(5)
    draws = np.array([posterior.draw(random) for _ in range(20_000)])
    scale = np.abs(posterior.covariance).max()
    np.testing.assert_allclose(draws.mean(axis=0), posterior.mean, atol=0.03 * np.sqrt(scale))
    np.testing.assert_allclose(np.cov(draws.T), posterior.covariance, atol=0.05 * scale)


@pytest.mark.parametrize("exploration", [0.0, 0.3, 1.0])
def test_partial_draws_average_to_the_posterior(model, exploration):
    posterior, random = model.posterior(user("item-3")), rng(6)
    explored = [posterior.explored(exploration, random) for _ in range(20_000)]
    means = np.array([each.coordinates for each in explored])
    variance = means.var(axis=0) + np.mean([1.0 / each.precision for each in explored], axis=0)
    np.testing.assert_allclose(means.mean(axis=0), posterior.coordinates, atol=0.05)
    np.testing.assert_allclose(variance, 1.0 / posterior.precision, rtol=0.05)


def test_clicks_narrow_the_posterior_and_pull_its_mean(model):
    before, after = model.posterior(user()), model.posterior(user("item-3"))
    assert np.trace(after.covariance) < np.trace(before.covariance)
    click = model.item_coordinates[3]
    assert (np.abs(after.coordinates - click) < np.abs(before.coordinates - click)).all()


def test_an_unseen_segment_value_has_the_population_prior_and_is_less_certain(model):
    population, unseen = model.prior.of(Segment()), model.prior.of(Segment(language="tlh"))
    np.testing.assert_array_equal(unseen[0], population[0])
    np.testing.assert_array_equal(unseen[0], model.prior.population_mean)
    finnish = model.prior.of(Segment(language="fi", country="never seen"))
    assert finnish[0][0] == pytest.approx(1.5)
    assert unseen[1][0] == pytest.approx(2.0 + 0.8)
    assert finnish[1][0] == pytest.approx(2.0 + 0.05)


def test_unknown_and_repeated_items_tell_nothing_new(model):
    plain, noisy = (
        model.posterior(user("item-3", "item-9")),
        model.posterior(user("?", "item-9", "item-3", "item-3")),
    )
    np.testing.assert_array_equal(plain.coordinates, noisy.coordinates)
    np.testing.assert_array_equal(plain.precision, noisy.precision)


@pytest.mark.parametrize("history", [(), ("?",), ("item-0",), tuple(f"item-{i}" for i in range(250))])
@pytest.mark.parametrize("count", [0, 1, 20, 300, 1000])
def test_answers_are_unseen_unique_sorted_and_as_many_as_there_are(model, history, count):
    port: ColdStarter = model
    answer = port.retrieve(user(*history), count, rng())
    known = {item for item in history if item in model.index.row_of}
    assert len(answer) == min(count, len(model.index) - len(known))
    assert len(set(answer.item_ids)) == len(answer)
    assert not known & set(answer.item_ids)
    assert np.isfinite(answer.scores).all()
    assert (np.diff(answer.scores) <= 0).all()


def test_items_of_the_pages_before_are_left_out_and_change_nothing_else(model):
    whole = model.retrieve(user("item-3"), len(model.index), rng())
    shown = whole.item_ids[:250]
    page = model.retrieve(replace(user("item-3"), shown=shown), len(model.index), rng())
    assert page.item_ids == whole.item_ids[250:]


def test_ten_thousand_events_are_answered(model):
    history = tuple(f"item-{i % 280}" for i in range(10_000))
    assert len(model.retrieve(user(*history), 50, rng())) == 20


def test_the_draw_decides_and_nothing_else(model):
    model = replace(model, blend=replace(model.blend, exploration=1.0))
    first, again, other = (model.retrieve(user("item-3"), 50, rng(seed)) for seed in (1, 1, 2))
    assert first.item_ids == again.item_ids
    assert first.item_ids != other.item_ids


def test_nothing_known_and_nothing_drawn_is_popularity(model):
    model = replace(model, blend=replace(model.blend, exploration=0.0))
    leaders = [model.index.item_ids[row] for row in model.popularity.leaders[0][:20]]
    assert list(model.retrieve(user(), 20, rng()).item_ids) == leaders


def test_language_changes_what_comes_first(model):
    model = replace(model, blend=replace(model.blend, exploration=0.0))
    finnish = model.retrieve(user(language="fi"), 20, rng()).item_ids
    assert set(finnish) != set(model.retrieve(user(language="en"), 20, rng()).item_ids)
    rows = np.array([model.index.row_of[item] for item in finnish])
    everyone = model.popularity.leaders[0][:20]
    assert model.item_coordinates[rows, 0].mean() > model.item_coordinates[everyone, 0].mean()


def test_taste_is_the_log_ratio_of_the_predictive_densities(model):
    posterior = model.posterior(user("item-3", language="fi"))
    anybody = model.posterior(user())
    rows, coordinates = np.arange(50), model.item_coordinates[:50].astype(float)

    def log_predictive(each):
        return multivariate_normal(each.coordinates, np.diag(1.0 + 1.0 / each.precision)).logpdf(coordinates)

    expected = log_predictive(posterior) - log_predictive(anybody)
    found = model.taste(posterior, rows)
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-3, atol=1e-3)


def test_save_and_load_give_the_same_answers(model, tmp_path):
    model.save(tmp_path)
    loaded = ColdStartModel.load(tmp_path, model.index)
    assert loaded.blend == model.blend
    for language in ("fi", "en", "unknown"):
        given = user("item-3", language=language)
        answer, expected = loaded.retrieve(given, 50, rng(3)), model.retrieve(given, 50, rng(3))
        assert answer.item_ids == expected.item_ids
        np.testing.assert_array_equal(answer.scores, expected.scores)


def test_an_index_of_another_space_is_refused(model, tmp_path):
    model.save(tmp_path)
    other = ItemIndex.build(model.index.item_ids, np.array(model.index.vectors[::-1]))
    with pytest.raises(ArtifactError, match="other item vectors"):
        ColdStartModel.load(tmp_path, other)


def test_a_damaged_artifact_is_refused(model, tmp_path):
    with pytest.raises(ArtifactError):
        ColdStartModel.load(tmp_path, model.index)
    model.save(tmp_path)
    whole = (tmp_path / ARRAYS_FILE).read_bytes()
    (tmp_path / ARRAYS_FILE).write_bytes(whole[:200])
    with pytest.raises(ArtifactError):
        ColdStartModel.load(tmp_path, model.index)
    (tmp_path / ARRAYS_FILE).write_bytes(whole)
    settings = json.loads((tmp_path / SETTINGS_FILE).read_text())
    settings["blend"]["taste_weight"] = float("nan")
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(settings))
    with pytest.raises(ArtifactError, match="not finite"):
        ColdStartModel.load(tmp_path, model.index)


def test_new_items_are_expected_to_be_as_popular_as_those_near_them_and_removed_ones_are_not_found(model):
    index = model.index
    popular, rare = model.leaders[0, :5], model.leaders[0, -5:]
    changed = index.with_changes(
        ("like-popular", "like-rare"),
        np.stack([index.vectors[popular].mean(axis=0), index.vectors[rare].mean(axis=0)]),
        {"item-0"},
    )
    extended = model.with_index(changed)
    shares = extended.popularity.log_shares
    np.testing.assert_array_equal(shares[:, :-2], model.popularity.log_shares)
    assert shares[0, -2] > shares[0, -1]
    assert (shares[:, -2:] >= model.popularity.log_shares.min(axis=1)[:, None]).all()
    found = extended.retrieve(UserState("u"), len(changed), np.random.default_rng(0)).item_ids
    assert set(found) == {*index.item_ids, "like-popular", "like-rare"} - {"item-0"}
    # What a user did with a removed item still says what the user likes.
    fan = UserState("u", history=("item-0",))
    np.testing.assert_allclose(extended.posterior(fan).mean, model.posterior(fan).mean)
    assert model.with_index(index) is model
