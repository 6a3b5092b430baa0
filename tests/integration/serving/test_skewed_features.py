"""Failure case 15: a feature column dropped, renamed, retyped, all null is found before a version serves.

The features are really materialised from the damaged data, and read from the online store.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pandas as pd
import pytest

from services.recommendations.judging.features_as_trained import states
from services.recommendations.judging.stage_specifications import stage_specifications
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.quality_policy import SkewPolicy
from streamrec.datasets.dataset import load_dataset
from streamrec.events.memory_event_log import MemoryEventLog
from streamrec.events.time_range import ALL_TIME
from streamrec.features.materialization import materialize, open_feature_store
from streamrec.features.settings import FeatureSettings
from streamrec.gates.skew.evidence import SkewSources, collect_skew, online_user_features
from streamrec.gates.skew.judgement import ServedFrom, judge_skew
from streamrec.gates.skew.logged_requests import read_logged_requests
from tests.integration.serving.conftest import REPOSITORY, write_data

USERS_FILE = "users.parquet"


def dropped(users: pd.DataFrame) -> pd.DataFrame:
    return users.drop(columns="language")


def renamed(users: pd.DataFrame) -> pd.DataFrame:
    return users.rename(columns={"language": "lang"})


def retyped(users: pd.DataFrame) -> pd.DataFrame:
    return users.assign(language=users["language"].astype("category").cat.codes.astype(float))


def all_null(users: pd.DataFrame) -> pd.DataFrame:
    return users.assign(language=None)


def untouched(users: pd.DataFrame) -> pd.DataFrame:
    return users


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skew") / "data"
    write_data(folder)
    return folder


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        (untouched, Verdict.PASSED),
        (dropped, Verdict.FAILED),
        (renamed, Verdict.FAILED),
        (retyped, Verdict.FAILED),
        (all_null, Verdict.FAILED),
    ],
)
def test_a_damaged_column_is_named_before_anything_serves(data, tmp_path, damage, verdict):
    served = tmp_path / "served"
    shutil.copytree(data, served)
    damage(pd.read_parquet(served / USERS_FILE)).to_parquet(served / USERS_FILE)
    settings = FeatureSettings(tmp_path / "features", REPOSITORY / "feature_repo")
    materialize(settings, load_dataset(served))
    store = open_feature_store(settings)
    specification = stage_specifications()["ranking"]
    sources = SkewSources(
        logged=read_logged_requests(MemoryEventLog(), specification.slot, ALL_TIME),
        trained=lambda entities: states(data, entities),
        answers=lambda _: pytest.fail("nothing is logged that could be answered again"),
        online=lambda units: online_user_features(store, units),
        units=pd.read_parquet(data / USERS_FILE)["user_id"].tolist(),
        now=datetime.now(UTC),
    )
    evidence = collect_skew("recommendations-ranking@1", specification, sources, None)
    assert evidence.served_from is ServedFrom.ONLINE_STORE
    # Sixty users cannot show that two in a hundred differ at most.
    result = judge_skew(evidence, SkewPolicy(minimum_rows=30, differing_share=0.1))
    assert result.verdict is verdict
    found = [(reason.code, reason.path) for reason in result.reasons if reason.code != "features_alone"]
    assert found == ([] if verdict is Verdict.PASSED else [("feature_skew", "features.language")])
