"""One user's rows in Feast's online stores, which have no way of their own to remove one entity."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from streamrec.features.feast_import import EntityKey, FeatureStore, Value, serialize_entity_key
from streamrec.features.feast_repository import answering, online_connection, open_feast
from streamrec.features.generation import GENERATION_FILE, read_generation
from streamrec.features.settings import FeatureSettings

_GLOB: Final = re.compile(rb"[\\*?\[\]^]")


class OnlineRows:
    """A user's rows in every table and every generation that the online store still holds."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._settings = settings

    def remove(self, user_id: str) -> int:
        """Remove them; return how many there were.

        Raises:
            DependencyError: The online store did not answer.
            NotReadyError: Which rows were published cannot be told, or they are in another online store.
        """
        with self._opened() as store:
            if store is None:
                return 0
            connection = online_connection(store)
            if connection is None:
                client, keys = self._redis(store, user_id)
                return sum(int(client.delete(key)) for key in keys)
            with closing(connection):
                # What is deleted is overwritten, in the file and in its write-ahead log.
                connection.execute("PRAGMA secure_delete = ON")
                with connection:
                    removed = sum(
                        connection.execute(
                            f'DELETE FROM "{table}" WHERE entity_key = ?',  # noqa: S608 # of the store itself
                            (_key(store, user_id),),
                        ).rowcount
                        for table in _tables(connection)
                    )
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return removed

    def count(self, user_id: str) -> int:
        """Return how many there are.

        Raises:
            DependencyError: The online store did not answer.
            NotReadyError: Which rows were published cannot be told, or they are in another online store.
        """
        with self._opened() as store:
            if store is None:
                return 0
            connection = online_connection(store)
            if connection is None:
                return len(self._redis(store, user_id)[1])
            with closing(connection):
                return sum(
                    connection.execute(
                        f'SELECT count(*) FROM "{table}" WHERE entity_key = ?',  # noqa: S608
                        (_key(store, user_id),),
                    ).fetchone()[0]
                    for table in _tables(connection)
                )

    @contextmanager
    def _opened(self) -> Iterator[FeatureStore | None]:
        settings = self._settings
        if not (settings.folder / GENERATION_FILE).exists():
            yield None
            return
        generation = read_generation(settings.folder, settings)
        with answering():
            yield open_feast(
                settings, settings.folder, generation.project, timeout_ms=settings.redis_write_timeout_ms
            )

    @staticmethod
    def _redis(store: FeatureStore, user_id: str) -> tuple[Any, list[bytes]]:
        client = store.provider.online_store._get_client(store.config.online_store)
        # A key is the entity's, then the generation's project: those of earlier generations match too.
        pattern = _GLOB.sub(rb"\\\g<0>", _key(store, user_id)) + b"streamrec_*"
        return client, list(client.scan_iter(match=pattern, count=10_000))


def _key(store: FeatureStore, user_id: str) -> bytes:
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user_id)])
    version = store.config.entity_key_serialization_version
    return bytes(serialize_entity_key(key, entity_key_serialization_version=version))


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        name
        for (name,) in names
        if any(column[1] == "entity_key" for column in connection.execute(f'PRAGMA table_info("{name}")'))
    ]
