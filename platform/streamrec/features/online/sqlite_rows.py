"""A user's row from Feast's SQLite tables, as it is stored, and what tells it from the next one."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from streamrec.features.feast_import import FeatureStore, FeatureView
from streamrec.features.feast_rows import decoded, features_of, stored_key
from streamrec.features.online.user_reads import UserRow
from streamrec.features.rules import as_served, check_user_id


@dataclass(frozen=True, slots=True)
class SqliteRows:
    """The rows of one generation. No other thread may use the connection during a call.

    Attributes:
        feast: Opened on the generation.
        views: Those of users.
        connection: To the tables.
        identity: Of the generation.
        history_ttl: How old a history may be to be served; zero: for ever.
    """

    feast: FeatureStore
    views: Sequence[FeatureView]
    connection: sqlite3.Connection
    identity: tuple[int, int]
    history_ttl: timedelta

    def row(self, user_id: str, now: datetime) -> UserRow:
        """Read the row of a user."""
        stored = self._stored(user_id)
        features = features_of(user_id, decoded(stored))
        if features is not None:
            features = as_served(features, self.history_ttl, now)
        return UserRow(features, self._digest(stored))

    def revision(self, user_id: str) -> bytes:
        """Read the row, and return its revision without decoding it."""
        return self._digest(self._stored(user_id))

    def _stored(self, user_id: str) -> dict[str, bytes]:
        check_user_id(user_id)
        config = self.feast.config
        query = " UNION ALL ".join(
            f'SELECT feature_name, value FROM "{config.project}_{view.name}" WHERE entity_key = ?1'  # noqa: S608 - names of ours
            for view in self.views
        )
        key = stored_key(user_id, "", config.entity_key_serialization_version)
        return dict(self.connection.execute(query, (key,)).fetchall())

    def _digest(self, stored: Mapping[str, bytes]) -> bytes:
        """Of a stored row. Feast's SQLite keeps times in whole seconds, so they cannot tell its changes."""
        digest = hashlib.blake2b(repr(self.identity).encode(), digest_size=16)
        for name in sorted(stored):
            digest.update(b"%s %d " % (name.encode(), len(stored[name])))
            digest.update(stored[name])
        return digest.digest()
