"""A user's row from Redis in one round trip, in Feast's own format, without a thread.

`feast.FeatureStore.get_online_features_async` asks Redis for the same fields and takes four times as long
(`tests/benchmarks/benchmark_user_rows.py`): it builds a response for any number of entities and views.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError, RedisError

from streamrec.contracts.errors import DependencyError, OverloadedError, StreamRecError
from streamrec.features.feast_rows import decoded, features_of, stored_key
from streamrec.features.generation import read_generation, rows_marker
from streamrec.features.online.user_reads import ReadLimits, UserRow
from streamrec.features.rules import as_served, check_user_id
from streamrec.features.settings import FeatureSettings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where a generation's user rows lie in Redis: one hash a user.

    Attributes:
        identity: Of the file that publishes the generation.
        project: Of the generation: the end of each key.
        names: Features of all views, in the order of ``fields``.
        fields: The hash's fields that hold them.
        stamps: The fields that hold the time of each view.
        history_ttl: How old a history may be to be served; zero: for ever.
        key_version: Of Feast's form of keys.
        marker: The key that is there as long as the rows are; None where none was written.
    """

    identity: tuple[int, int]
    project: str
    names: tuple[str, ...]
    fields: list[Any]
    stamps: list[Any]
    history_ttl: timedelta
    key_version: int
    marker: str | None = None


class RowLayouts:
    """The layout of the generation that is published now, found without waiting.

    A new generation differs in its project, which its small file says; opening its registry takes Feast tens
    of milliseconds. So its rows are read at once by the fields of the generation before, while a thread opens
    it. Safe to use from several threads.
    """

    def __init__(
        self,
        opened: Callable[[], RowLayout],
        identity: Callable[[], tuple[int, int]],
        settings: FeatureSettings,
    ) -> None:
        """Find the first layout.

        Args:
            opened: Opens the published generation and returns its layout.
            identity: That of the file that publishes a generation; must not wait.
            settings: Where the file lies.

        Raises:
            NotReadyError: Nothing has been materialised yet.
        """
        self._opened, self._identity, self._settings = opened, identity, settings
        self._opening = threading.Lock()
        self._now = self._with_marker(opened())

    def now(self) -> RowLayout:
        """Return it.

        Raises:
            NotReadyError: What is published cannot be read.
        """
        identity, now = self._identity(), self._now
        if identity == now.identity:
            return now
        project = read_generation(self._settings.folder, self._settings).project
        self._now = self._with_marker(replace(now, identity=identity, project=project))
        threading.Thread(target=self._open, name="feature-generation", daemon=True).start()
        return self._now

    def _with_marker(self, layout: RowLayout) -> RowLayout:
        generation = read_generation(self._settings.folder, self._settings)
        marked = generation.rows_marked and generation.project == layout.project
        return replace(layout, marker=rows_marker(layout.project) if marked else None)

    def _open(self) -> None:
        with self._opening:
            try:
                self._now = self._with_marker(self._opened())
            except StreamRecError:
                # Rows are read all the same; a generation that cannot be opened is published over.
                _LOG.exception("the definitions of the published features cannot be read")


class RedisReads:
    """Reads rows through an asynchronous client. For one event loop.

    A row is one hash, written by one command for each view: what is read of a view, its time included, is
    whole.
    """

    def __init__(
        self,
        layouts: RowLayouts,
        settings: FeatureSettings,
        limits: ReadLimits,
        clock: Callable[[], datetime],
    ) -> None:
        """Describe the reads; the first one connects.

        Args:
            layouts: Where the rows lie.
            settings: Names the server, and how long it may take.
            limits: Bounds.
            clock: Tells the time, UTC.
        """
        self._layouts = layouts
        self._clock = clock
        self._limits = limits
        timeout_s = settings.redis_read_timeout_ms / 1000.0
        self._client = Redis.from_url(
            settings.online,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=limits.at_once,
            # By default each error is met with more attempts, for seconds.
            retry=Retry(NoBackoff(), 0),
        )

    async def row(self, user_id: str) -> UserRow:
        """Return the row; see `UserReads`."""
        layout = self._layouts.now()
        found = await self._read(user_id, layout, [*layout.fields, *layout.stamps])
        stored, stamps = found[: len(layout.fields)], found[len(layout.fields) :]
        features = features_of(user_id, decoded(dict(zip(layout.names, stored, strict=True))))
        if features is None:
            await self._check_rows_are_there(layout)
        else:
            features = as_served(features, layout.history_ttl, self._clock())
        return UserRow(features, _revision(layout, stamps))

    async def revision(self, user_id: str) -> bytes:
        """Return the row's revision; see `UserReads`."""
        layout = self._layouts.now()
        return _revision(layout, await self._read(user_id, layout, layout.stamps))

    async def _check_rows_are_there(self, layout: RowLayout) -> None:
        """Tell a user whom nobody knows from a Redis that lost its rows, where everybody is unknown."""
        if layout.marker is not None and not await self._asked(self._client.exists(layout.marker)):
            raise DependencyError(
                "the online feature store has lost the rows of users; run 'streamrec features materialize'"
            )

    async def _read(self, user_id: str, layout: RowLayout, fields: list[Any]) -> list[bytes | None]:
        check_user_id(user_id)
        key: Any = stored_key(user_id, layout.project, layout.key_version)
        found: list[bytes | None] = await self._asked(self._client.hmget(key, fields))
        return found

    async def _asked(self, question: Any) -> Any:
        """The answer of Redis to a question that was not sent yet."""
        try:
            # The client bounds each of connecting, greeting and asking; this bounds them together.
            async with asyncio.timeout(self._limits.timeout_ms / 1000.0):
                return await question
        except MaxConnectionsError as error:
            raise OverloadedError(f"{self._limits.at_once} feature-store reads are under way") from error
        except TimeoutError as error:
            raise DependencyError(
                f"the feature store did not answer within {self._limits.timeout_ms:.0f} ms"
            ) from error
        except (RedisError, OSError) as error:
            raise DependencyError(f"the online feature store did not answer ({error})") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _revision(layout: RowLayout, stamps: list[bytes | None]) -> bytes:
    """The times that Feast keeps of a row's views, each of which grows with every write (`feast_rows`)."""
    return b"/".join([layout.project.encode(), *(stamp or b"" for stamp in stamps)])
