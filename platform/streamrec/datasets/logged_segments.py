"""What requests said of users whom the imported data does not know: the segments that they were served by.

A new user's country, language, age band and channel come with the request, and impressions keep them beside
the slates that were drawn for the user. Without them training would see a user without a segment where
serving saw one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pandas as pd
import pyarrow.compute as pc

from streamrec.contracts.conventions import UNKNOWN
from streamrec.datasets.dataset import SEGMENT_COLUMNS, Dataset, users_frame
from streamrec.events.event_log import EventReader
from streamrec.events.records import RecordKind
from streamrec.events.time_range import ALL_TIME, TimeRange

Segments = Mapping[str, Mapping[str, str]]
"""By user, the attributes out of `SEGMENT_COLUMNS` that are known."""

_COLUMNS: Final = ("unit", "predicted_at", "features")


def logged_segments(reader: EventReader, window: TimeRange = ALL_TIME) -> dict[str, dict[str, str]]:
    """What impressions of a range say of users; the newest says it.

    Raises:
        DependencyError, ArtifactError: The log cannot be read.
    """
    table = reader.table(RecordKind.IMPRESSION, _COLUMNS, window)
    table = table.filter(pc.is_valid(table.column("features"))).sort_by("predicted_at")
    found: dict[str, dict[str, str]] = {}
    for row in table.select(["unit", "features"]).to_pylist():
        features = json.loads(row["features"])
        told = {
            name: features[name]
            for name in SEGMENT_COLUMNS
            if isinstance(features.get(name), str) and features[name] != UNKNOWN
        }
        if told:
            found.setdefault(row["unit"], {}).update(told)
    return found


def with_segments(dataset: Dataset, segments: Segments) -> Dataset:
    """Return ``dataset`` with what ``segments`` knows of its users, and with the users that it knows alone.

    What an import says is believed first, as serving believes the store first. The fingerprint covers what
    was added.
    """
    known = frozenset(dataset.users["user_id"])
    strangers = sorted(user_id for user_id in segments if user_id not in known)
    users = users_frame(
        pd.concat([dataset.users, pd.DataFrame({"user_id": strangers}, dtype=object)], ignore_index=True),
        dataset.interactions,
    )
    added: list[tuple[str, str, str]] = []
    columns: dict[str, pd.Series] = {}
    for name in SEGMENT_COLUMNS:
        values = users[name].tolist()
        for row, (user_id, value) in enumerate(zip(users["user_id"], values, strict=True)):
            told = segments.get(user_id, {}).get(name) if value == UNKNOWN else None
            if told is not None:
                values[row] = told
                added.append((user_id, name, told))
        columns[name] = pd.Series(values, index=users.index, dtype=object)
    if not added:
        return dataset
    content = json.dumps(sorted(added), separators=(",", ":"))
    return replace(
        dataset,
        users=users.assign(**columns),
        additions=hashlib.sha256(f"{dataset.additions}\nsegments {content}".encode()).hexdigest(),
    )
