"""What serving reads of a user is what training read of the same user at the same time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from services.recommendations.contracts.candidates import Segment
from services.recommendations.gateway.user_states import as_state
from services.recommendations.training.histories import user_states
from streamrec.command_line.composition import (
    feature_settings,
    load_data_folder,
    materialize_features,
    open_feature_store,
)
from streamrec.command_line.training_data import read_training_data
from streamrec.command_line.workspace import Workspace
from streamrec.contracts.progress import SilentProgress
from streamrec.events.file_event_log import FileEventLog
from streamrec.features.feast_store import FeastFeatureStore
from streamrec.training.splits import user_sequences
from tests.integration.serving.conftest import write_data
from tests.made_events import an_outcome

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Imported users, of whom some came back, with two that only the event log knows."""
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    place.data.mkdir()
    write_data(place.data / "mine")
    log = FileEventLog(place.events)
    log.append(
        [
            an_outcome(
                unit=("user-01", "user-02", "new-1", "new-2")[number % 4],
                item_id=f"item-{140 + number % 3:03d}",
                kind=("click", "dislike", "play", "skip", "click")[number % 5],
                event_id=f"event-{number}",
                occurred_at=FIRST + timedelta(minutes=number),
                received_at=FIRST + timedelta(minutes=number, seconds=1),
            )
            for number in range(40)
        ]
    )
    log.close()
    materialize_features(place, load_data_folder(place.data / "mine"), None, SilentProgress())
    return place


def test_online_state_and_training_state_are_the_same_for_every_user(place):
    dataset = read_training_data(place, data=None, imported=None, until=None).dataset
    store = open_feature_store(place)
    trained_on = {state.user_id: state for state in user_states(dataset, user_sequences(dataset))}
    assert {"new-1", "new-2", "user-59"} <= trained_on.keys()
    # The ages of skips in training are those at the end of the data.
    end = dataset.interactions["timestamp"].max().to_pydatetime()
    for user_id, trained in trained_on.items():
        assert as_state(user_id, store.user_features(user_id), Segment(), end) == trained
    assert any(set(state.skip_ages_hours) for state in trained_on.values())
    positive = dataset.positive_interactions
    assert len(user_sequences(dataset).items) < len(positive)  # some of it was taken back


def test_a_point_in_time_frame_now_holds_what_is_served_now(place):
    opened = FeastFeatureStore(feature_settings(place))
    try:
        users = ["new-1", "user-01", "user-02", "user-30"]
        now = pd.Timestamp(datetime.now(UTC))
        frame = opened.training_frame(
            pd.DataFrame({"user_id": users, "event_timestamp": [now] * len(users)}), "cold_start_v1"
        )
        store = open_feature_store(place)
        for row in frame.to_dict("records"):
            served = store.user_features(row["user_id"])
            assert served is not None
            assert tuple(row["user_activity__history"]) == served.history
            for name in ("country", "language"):
                assert row[f"user_profile__{name}"] == getattr(served, name)
    finally:
        opened.close()
