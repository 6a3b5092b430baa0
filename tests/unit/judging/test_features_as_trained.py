from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from services.recommendations.judging.features_as_trained import states
from services.recommendations.judging.requests import known_users
from services.recommendations.judging.state_columns import STATE_COLUMNS
from streamrec.gates.skew.features import compare_features
from tests.unit.judging.conftest import START


def entities(*rows: tuple[str, pd.Timestamp]) -> pd.DataFrame:
    return pd.DataFrame({"unit": [unit for unit, _ in rows], "at": [at for _, at in rows]})


def test_only_what_was_known_before_the_time_counts(data):
    at = START + pd.Timedelta(hours=48)
    found = states(data, entities(("u00", at), ("u01", START), ("nobody", at)))
    assert found["history"].tolist() == [["i00", "i01"], [], []]
    assert found["disliked"].tolist() == [["i30"], [], []]
    # Seventeen hours ago.
    assert found["skip_ages_hours"].tolist() == [[17], [], []]
    assert found["language"].tolist() == ["fi", "de", "unknown"]


def test_evaluation_and_serving_are_asked_with_the_same_features(data):
    asked = known_users(data)
    found = states(data, asked[["unit", "at"]])
    differing = {skew.column: skew.mismatches for skew in compare_features(found, asked[list(STATE_COLUMNS)])}
    assert set(differing.values()) == {0}


def test_a_data_set_without_events_counts_everything_as_interest(data, tmp_path):
    for name in ("items", "users"):
        (tmp_path / f"{name}.parquet").write_bytes((data / f"{name}.parquet").read_bytes())
    plain = pd.read_parquet(data / "interactions.parquet").query("event == 'play'").drop(columns="event")
    plain.to_parquet(tmp_path / "interactions.parquet")
    moment = entities(("u02", datetime(2026, 2, 1, tzinfo=UTC)))
    assert len(states(tmp_path, moment)["history"].iloc[0]) == 9


def test_items_of_one_moment_stay_in_the_order_of_the_data(data, tmp_path):
    for name in ("items", "users"):
        (tmp_path / f"{name}.parquet").write_bytes((data / f"{name}.parquet").read_bytes())
    rows = pd.DataFrame({"user_id": "u00", "item_id": ["i09", "i10", "i02", "i03"], "timestamp": START})
    rows.loc[3, "timestamp"] = START - pd.Timedelta(hours=1)
    rows.to_parquet(tmp_path / "interactions.parquet")
    moment = entities(("u00", datetime(2027, 2, 1, tzinfo=UTC)))
    # As materialisation has them, and training: the order of the source counts where times are equal.
    assert states(tmp_path, moment)["history"].tolist() == [["i03", "i09", "i10", "i02"]]
