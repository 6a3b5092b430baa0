"""A user's row in Feast's online store: decoding what is read, and adding actions to what is stored.

Feast has no read-modify-write of its own. Here it is one transaction on SQLite, and done under a lock of the
user's own on Redis, so that two processes that write one user's row lose nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from streamrec.contracts.errors import DamagedRowError
from streamrec.features.feast_import import (
    EntityKey,
    FeatureStore,
    FeatureView,
    Int64List,
    StringList,
    Value,
    serialize_entity_key,
)
from streamrec.features.names import ACTIVITY_VIEW, PROFILE_VIEW, REJECTIONS_VIEW
from streamrec.features.rules import unknown_user
from streamrec.features.store import UserFeatures
from streamrec.features.user_actions import TimedItems, UserAction, UserActivity, moment

_SEGMENT: Final = ("country", "language", "age_band", "signup_channel")
_LISTS: Final = {ACTIVITY_VIEW: ("history",), REJECTIONS_VIEW: ("disliked", "skipped")}
"""The lists of `UserActivity` that each view holds; the times of a list stand in ``LIST_times``."""

_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    PROFILE_VIEW: dict.fromkeys(_SEGMENT, "string_val"),
    ACTIVITY_VIEW: {
        "event_count": "int64_val",
        "last_event_at": "unix_timestamp_val",
        "history": "string_list_val",
        "history_times": "int64_list_val",
    },
    REJECTIONS_VIEW: {
        "disliked": "string_list_val",
        "disliked_times": "int64_list_val",
        "skipped": "string_list_val",
        "skipped_times": "int64_list_val",
    },
}
"""What each view holds of a user whom it knows: every column, in this field of Feast's value."""

_LOCK_WAIT_S: Final = 1.0
_LOCK_LEASE_S: Final = 30.0
"""A process that dies with the lock keeps others from this user's row for no longer."""

_ONE_AFTER: Final = timedelta(milliseconds=1)


def features_of(user_id: str, values: Mapping[str, Value]) -> UserFeatures | None:
    """The row from the values of all views; None for a user that nothing is known of.

    Raises:
        DamagedRowError: A column is missing, empty, or of another type.
    """
    _check_columns(values)
    segment = {
        name: value.string_val
        for name in _SEGMENT
        if (value := values.get(name)) is not None and value.HasField("string_val")
    }
    activity = UserActivity(
        **{name: _timed_items(values, name) for names in _LISTS.values() for name in names}
    )
    if not segment and activity == UserActivity():
        return None
    return replace(unknown_user(user_id), **segment, activity=activity)


def _check_columns(values: Mapping[str, Value]) -> None:
    """A view knows all of a user or nothing: what it lacks of one was dropped, renamed, or never computed.

    Without this, such a user would be served as one who has no language, or has watched nothing.
    """
    for view, columns in _COLUMNS.items():
        found = {name: values[name].WhichOneof("val") if name in values else None for name in columns}
        if not any(found.values()):
            continue
        wrong = [name for name, kind in columns.items() if found[name] != kind]
        if wrong:
            raise DamagedRowError(
                f"a row of {view} lacks {', '.join(wrong)}, or holds them in another type: materialise the "
                "features anew"
            )


def read_user(feast: FeatureStore, views: Sequence[FeatureView], user_id: str) -> UserFeatures | None:
    """Read one user's row of all views, through Feast's online store."""
    values: dict[str, Value] = {}
    for view in views:
        values.update(_stored_rows(feast, view, [user_id])[user_id][1])
    return features_of(user_id, values)


def feature_names(view: FeatureView) -> list[str]:
    """What a view of users holds, without its key."""
    return [field.name for field in view.schema if field.name != "user_id"]


def decoded(values: Mapping[str, bytes | None]) -> dict[str, Value]:
    """The values of a stored row."""
    return {name: Value.FromString(value) for name, value in values.items() if value is not None}


def redis_fields(feast: FeatureStore, view: FeatureView) -> tuple[list[Any], Any]:
    """The fields of a user's hash in Redis that hold the features of a view, in the order of its names, and
    the one that holds their time.
    """
    online_store: Any = feast.provider.online_store
    *fields, stamp = online_store._generate_hset_keys_for_features(view, feature_names(view))[1]
    return fields, stamp


def stored_key(user_id: str, project: str, key_version: int) -> bytes:
    """The key of a user's row: of the hash in Redis, and in SQLite without a project."""
    return bytes(serialize_entity_key(_entity_key(user_id), entity_key_serialization_version=key_version)) + (
        project.encode()
    )


def add_actions(
    feast: FeatureStore,
    views: Sequence[FeatureView],
    connection: sqlite3.Connection | None,
    actions: Mapping[str, Sequence[UserAction]],
) -> None:
    """Add actions to the stored rows; a row that has them all already is not written.

    Feast's store is handed its own values. `FeatureStore.write_to_online_store` would make them of a data
    frame, which takes four milliseconds a call, with the interpreter's lock.

    Args:
        feast: Opened on the generation to write to. No other thread may use it meanwhile.
        views: Those of users; the ones that hold no actions are left alone.
        connection: Its connection to SQLite; None with Redis.
        actions: By user id.
    """
    with ExitStack() as locks:
        if connection is None:
            for user_id in sorted(actions):  # in one order everywhere, so that no two wait for each other
                locks.enter_context(_user_lock(feast, user_id))
        for view in (view for view in views if view.name in _LISTS):
            with _transaction(connection):
                _add_to_view(feast, view, actions)


def _add_to_view(feast: FeatureStore, view: FeatureView, actions: Mapping[str, Sequence[UserAction]]) -> None:
    stored = _stored_rows(feast, view, list(actions))
    rows: list[tuple[EntityKey, dict[str, Value], datetime, None]] = []
    for user_id, acted in actions.items():
        stamp, values = stored[user_id]
        before = _activity_of(view.name, values)
        after = before.with_actions(acted)
        lists = {name: getattr(after, name) for name in _LISTS[view.name]}
        if all(items == getattr(before, name) for name, items in lists.items()):
            continue
        newest = max(moment(items.times_us[-1]) for items in lists.values() if items.times_us)
        row: dict[str, Value] = {}
        for name, items in lists.items():
            row[name] = Value(string_list_val=StringList(val=items.item_ids))
            row[f"{name}_times"] = Value(int64_list_val=Int64List(val=items.times_us))
        if view.name == ACTIVITY_VIEW:
            added = len(set(_pairs(after.history)) - set(_pairs(before.history)))
            count = (values["event_count"].int64_val if values else 0) + added
            row["event_count"] = Value(int64_val=count)
            row["last_event_at"] = Value(unix_timestamp_val=int(newest.timestamp()))
        # Redis drops a write that is not newer than the stored row.
        written_at = newest if stamp is None else max(newest, stamp + _ONE_AFTER)
        rows.append((_entity_key(user_id), row, written_at, None))
    if rows:
        feast.provider.online_write_batch(feast.config, view, rows, None)


def _stored_rows(
    feast: FeatureStore, view: FeatureView, user_ids: list[str]
) -> dict[str, tuple[datetime | None, Mapping[str, Value]]]:
    """Time and values of each user's row of a view; no values where there is none."""
    keys = [_entity_key(user_id) for user_id in user_ids]
    found = feast.provider.online_store.online_read(feast.config, view, keys, feature_names(view))
    return {user: (stamp, values or {}) for user, (stamp, values) in zip(user_ids, found, strict=True)}


def _activity_of(view: str, values: Mapping[str, Value]) -> UserActivity:
    return UserActivity(**{name: _timed_items(values, name) for name in _LISTS[view]})


def _timed_items(values: Mapping[str, Value], name: str) -> TimedItems:
    """A list with its times; an empty one where there is no value."""
    items, times = values.get(name), values.get(f"{name}_times")
    if items is None or times is None:
        return TimedItems()
    return TimedItems(tuple(items.string_list_val.val), tuple(times.int64_list_val.val))


def _entity_key(user_id: str) -> EntityKey:
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])


def _pairs(items: TimedItems) -> Iterator[tuple[int, str]]:
    return zip(items.times_us, items.item_ids, strict=True)


@contextmanager
def _transaction(connection: sqlite3.Connection | None) -> Iterator[None]:
    """What is read in the body is what is there when it writes; nothing to do without SQLite."""
    if connection is None:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield  # Feast's write commits
    finally:
        if connection.in_transaction:
            connection.rollback()


@contextmanager
def _user_lock(feast: FeatureStore, user_id: str) -> Iterator[None]:
    client: Callable[[Any], Any] = feast.provider.online_store._get_client
    name = f"{feast.config.project}:writing:{user_id}"
    with client(feast.config.online_store).lock(
        name, timeout=_LOCK_LEASE_S, blocking_timeout=_LOCK_WAIT_S, sleep=0.005
    ):
        yield
