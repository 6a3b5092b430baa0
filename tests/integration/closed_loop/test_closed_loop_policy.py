from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendations.evaluation.closed_loop_policy import PipelinePolicy, PolicyModels
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.offline import OfflinePipeline
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.world.closed_loop import observable_catalogue, run_arm
from services.recommendations.world.settings import WorldSettings
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import SilentProgress
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.store import ItemTable

SETTINGS = WorldSettings(users=40, items=300, seed=205)
PIPELINE = PipelineSettings(HandOver(kappa=2.0, negligible=0.3), candidate_count=60)


def item_table(item_ids):
    count = len(item_ids)
    catalogue = Catalogue(
        item_ids=item_ids,
        titles=("",) * count,
        creator_ids=("c",) * count,
        creator_languages=("en",) * count,
        topics=((),) * count,
        published_at=np.full(count, "NaT", dtype="datetime64[s]"),
    )
    return ItemTable(catalogue, np.ones(count, dtype=np.int64), "revision")


class Compared:
    """Asks the pipeline, one request at a time, for what the policy shows to many users at once."""

    def __init__(self, policy, offline):
        self.policy, self.offline = policy, offline
        self.lengths, self.pages = set(), set()

    def recommend(self, observation, count, rng):
        slate = self.policy.recommend(observation, count, rng)
        wanted = count + observation.shown.shape[1]
        for row in range(0, len(slate), 3):
            user = self.policy.user_state(observation, row)
            answer = self.offline.recommend(user, wanted, self.policy.request_id(observation))
            shown = {self.policy.item_ids[item] for item in observation.shown[row] if item >= 0}
            expected = [item for item in answer.item_ids if item not in shown][:count]
            assert [self.policy.item_ids[item] for item in slate[row] if item >= 0] == expected
            self.lengths.add(min(len(user.history), 6))
            self.pages.add(observation.shown.shape[1] // count)
        return slate

    def end_of_day(self, day):
        self.policy.end_of_day(day)


def test_what_it_shows_is_what_the_pipeline_answers(models):
    item_ids = observable_catalogue(SETTINGS).item_ids
    items = item_table(item_ids)
    policy = PipelinePolicy(PolicyModels.of(models), items, PIPELINE)
    compared = Compared(policy, OfflinePipeline(models, items, PIPELINE))
    run, summary = run_arm(SETTINGS, compared, 60, SilentProgress())
    # Histories on both sides of the hand-over's end, and first as well as later pages, were compared.
    assert compared.lengths == set(range(7))
    assert {0, 1, 2} <= compared.pages
    assert summary.new_users == 60
    assert run.pages.sum() * 10 == summary.exposures


def test_it_shows_the_same_again_and_a_draw_shows_something_else(models):
    items = item_table(observable_catalogue(SETTINGS).item_ids)
    seen = []
    for version in (3, 3, 4):
        changed = replace(PolicyModels.of(models), cold_start_version=version)
        run, _ = run_arm(SETTINGS, PipelinePolicy(changed, items, PIPELINE), 30, SilentProgress())
        seen.append(run.exposures.tolist())
    assert seen[0] == seen[1] != seen[2]


def test_models_of_another_catalogue_are_refused(models):
    with pytest.raises(InvalidInputError, match="cold_start"):
        PipelinePolicy(PolicyModels.of(models), item_table(("other",)), PIPELINE)


def test_stand_ins_are_refused_by_name(models):
    with pytest.raises(InvalidInputError, match="cold_start: is a RanksByName"):
        PolicyModels.of(replace(models, cold_start=models.ranking))
