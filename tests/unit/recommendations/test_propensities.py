"""The propensities of a log: which slates are counted how, and what the verdict is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from services.recommendations.gateway.impressions import impression_of
from services.recommendations.jobs.propensities import log_propensities
from services.recommendations.pipeline.local_stages import LocalModels
from services.recommendations.pipeline.logged_versions import LoggedVersions, ServedUnder, in_groups
from services.recommendations.pipeline.offline import OfflinePipeline
from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.events import UNKNOWN_PROPENSITY, Propensity, PropensityKind
from streamrec.contracts.progress import SilentProgress
from streamrec.contracts.results import Verdict
from streamrec.datasets.catalogue import Catalogue
from streamrec.features.store import ItemTable
from streamrec.registry.memory_registry import MemoryModelRegistry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNT = 8
CATALOGUE = Catalogue(
    item_ids=tuple(f"i{row}" for row in range(COUNT)),
    titles=("",) * COUNT,
    creator_ids=("a",) * COUNT,
    creator_languages=("en",) * COUNT,
    topics=((),) * COUNT,
    published_at=np.full(COUNT, "NaT", dtype="datetime64[s]"),
)
ITEMS = ItemTable(CATALOGUE, np.arange(COUNT, dtype=np.int64), "revision")


class Shuffled:
    def retrieve(self, user, count, rng=None):
        scores = np.arange(COUNT, dtype=float) if rng is None else rng.random(COUNT)
        found = Candidates.from_scores(CATALOGUE.item_ids, scores)
        ids = tuple(item_id for item_id in found.item_ids if item_id not in user.history)[:count]
        return Candidates(ids, found.scores[: len(ids)])

    def rank(self, _user, candidates):
        return candidates

    def rerank(self, candidates, _user, _current_latency_ms, *, slate_length):
        assert slate_length
        return candidates


def pipeline(version=1):
    model = Shuffled()
    versions = dict.fromkeys(("retrieval", "cold_start", "ranking", "reranking"), version)
    return OfflinePipeline(LocalModels(model, model, model, model, versions), ITEMS)


def shown(request_id, user, version=1):
    return impression_of(request_id, user, pipeline(version).recommend(user, 3, request_id), NOW, 1.0)


class StillThere:
    """Knows version 1 alone, and counts how often it is asked for a pipeline."""

    def __init__(self):
        self.asked = 0

    def pipeline(self, served):
        self.asked += 1
        if any(not name.endswith("@1") for _, name in served.versions):
            raise NotFoundError("no such version")
        return pipeline()


NEW = UserState("new", Segment())


def found_in(impressions, versions=None):
    return log_propensities(versions or StillThere(), impressions, draws=9, progress=SilentProgress())


def test_what_was_drawn_is_counted_and_what_is_exact_stays():
    versions = StillThere()
    drawn = [shown(f"r{number}", NEW) for number in range(4)]
    certain = replace(drawn[0], request_id="c", seed=None, propensity=Propensity.certain(3))
    found = found_in([*drawn, certain], versions)
    assert {kind: found.count(kind) for kind in PropensityKind} == {
        "exact": 1,
        "monte_carlo": 4,
        "unknown": 0,
    }
    assert found.known["c"] == Propensity.certain(3)
    assert all(0.1 <= value <= 1.0 for value in found.known["r0"].values)
    assert versions.asked == 1  # one pipeline draws all slates that were served alike
    result = found.result()
    assert result.verdict is Verdict.PASSED
    assert result.to_json()["by_kind"] == {"exact": 1, "monte_carlo": 4, "unknown": 0}


def test_a_slate_that_comes_out_otherwise_fails_and_has_no_number():
    good = shown("r", NEW)
    found = found_in([good, replace(shown("wrong", NEW), item_ids=("i0", "i1", "i2"))])
    assert found.known["wrong"] == UNKNOWN_PROPENSITY
    assert found.unknown == {"differs": 1}
    result = found.result()
    assert result.verdict is Verdict.FAILED
    assert [(reason.code, reason.path) for reason in result.reasons] == [("slate_differs", "wrong")]


def test_why_a_propensity_stays_unknown_is_counted():
    old = replace(shown("old", NEW), features=None)
    skipped = shown("skipped", NEW)
    skipped = replace(skipped, extension=skipped.extension | {"skipped": ["ranking"]})
    found = found_in([old, skipped, shown("gone", NEW, version=2)])
    assert found.unknown == {"features": 1, "extension.skipped": 1, "versions_or_prices": 1}
    assert found.result().verdict is Verdict.INCONCLUSIVE


def test_slates_that_were_served_alike_are_one_group():
    one, same = shown("r1", NEW), shown("r2", NEW)
    priced = replace(same, price_revision=3)
    assert list(map(len, in_groups([one, priced, same]).values())) == [2, 1]
    assert ServedUnder.of(priced).price_revision == 3


def test_the_item_log_must_reach_the_revision(tmp_path):
    versions = LoggedVersions(MemoryModelRegistry(tmp_path), ITEMS, (), lambda: None)
    served = ServedUnder((), (), 5, None)
    with pytest.raises(InvalidInputError, match="5 is not in the item log"):
        versions.pipeline(served)
