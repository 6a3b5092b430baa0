"""The event log for an event loop: many waiting requests share one write and one fsync."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from streamrec.contracts.errors import DependencyError, InvalidInputError, OverloadedError, StreamRecError
from streamrec.events.event_log import EventWriter
from streamrec.events.records import Record

_LOG = logging.getLogger(__name__)

DEFAULT_MAXIMUM_QUEUED_RECORDS: Final = 10_000
_MAXIMUM_BATCH_RECORDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Pending:
    records: tuple[Record, ...]
    durable: bool
    written: asyncio.Future[None] | None


class AsyncEventLog:
    """Queues records and writes them on one thread, as many at a time as came in during the last write.

    All methods belong to one event loop. The queue is bounded: what does not fit is refused at once.
    """

    def __init__(
        self, log: EventWriter, *, maximum_queued_records: int = DEFAULT_MAXIMUM_QUEUED_RECORDS
    ) -> None:
        if maximum_queued_records < 1:
            raise ValueError("the queue needs room for one record")
        self._log = log
        self._maximum_queued_records = maximum_queued_records
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")
        self._pending: deque[_Pending] = deque()
        self._queued_records = 0
        self._drainer: asyncio.Task[None] | None = None
        self._closed = False
        self._lost_records = 0

    @property
    def queued_records(self) -> int:
        """Records that are waiting or being written."""
        return self._queued_records

    @property
    def lost_records(self) -> int:
        """Records handed to `enqueue` that could not be written."""
        return self._lost_records

    async def append(self, records: Sequence[Record], *, durable: bool = True) -> None:
        """Return when the records are written, and on the disk if ``durable``.

        Raises:
            OverloadedError: The queue is full, or the log is closed; nothing was written.
            InvalidInputError: A record breaks the rules of its type; none of these was written.
            DependencyError: The disk is full or fails; none of these is acknowledged.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(_Pending(tuple(records), durable, written))
        await written

    def enqueue(self, records: Sequence[Record]) -> None:
        """Queue records and return at once. They reach the operating system within the next write or two.

        For impressions: an answer does not wait for its own record. What cannot be written later is
        counted in `lost_records` and logged.

        Raises:
            OverloadedError: The queue is full, or the log is closed; nothing was queued.
        """
        self._submit(_Pending(tuple(records), durable=False, written=None))

    async def close(self) -> None:
        """Refuse new records, write those that are queued, and let the thread go. The log stays open.

        A close that is cancelled stops waiting, not writing: what is queued is written all the same, for as
        long as the event loop runs.
        """
        self._closed = True
        drainer = self._drainer
        if drainer is None or drainer.done():
            self._executor.shutdown(wait=True)
            return
        drainer.add_done_callback(lambda _: self._executor.shutdown(wait=False))
        await asyncio.wait([drainer])

    def _submit(self, pending: _Pending) -> None:
        if self._closed:
            raise OverloadedError("the event log is closing")
        if self._queued_records + len(pending.records) > self._maximum_queued_records:
            raise OverloadedError(f"the event log's queue is full ({self._queued_records} records)")
        self._pending.append(pending)
        self._queued_records += len(pending.records)
        if self._drainer is None or self._drainer.done():
            self._drainer = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            await self._drain_all()
        except asyncio.CancelledError:
            # The event loop is being torn down. Whoever waits must hear of it, and losses are counted.
            error = DependencyError("the event log was stopped before the record was written")
            while self._pending:
                pending = self._pending.popleft()
                self._queued_records -= len(pending.records)
                self._settle(pending, error)
            raise

    async def _drain_all(self) -> None:
        while self._pending:
            batch = [self._pending.popleft()]
            size = len(batch[0].records)
            while self._pending and size + len(self._pending[0].records) <= _MAXIMUM_BATCH_RECORDS:
                batch.append(self._pending.popleft())
                size += len(batch[-1].records)
            try:
                await self._write(batch)
            finally:
                self._queued_records -= size

    async def _write(self, batch: Sequence[_Pending]) -> None:
        records = [record for pending in batch for record in pending.records]
        durable = any(pending.durable for pending in batch)
        error: Exception | None = None
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: self._log.append(records, durable=durable)
            )
        except asyncio.CancelledError:
            error = DependencyError("the event log was stopped; whether the record was written is not known")
            for pending in batch:
                self._settle(pending, error)
            raise
        except InvalidInputError as invalid:
            if len(batch) > 1:
                # One caller's bad record must not cost the others theirs.
                for pending in batch:
                    await self._write([pending])
                return
            error = invalid
        except StreamRecError as failed:
            error = failed
        except Exception as unexpected:  # noqa: BLE001  # those who wait must hear of it, whatever it is
            _LOG.exception("the event log failed in an unexpected way")
            error = unexpected
        for pending in batch:
            self._settle(pending, error)

    def _settle(self, pending: _Pending, error: Exception | None) -> None:
        if pending.written is None:
            if error is not None:
                self._lost_records += len(pending.records)
                _LOG.error("%d records could not be written: %s", len(pending.records), error)
        elif pending.written.done():
            return  # the caller was cancelled; the record is in the log all the same
        elif error is None:
            pending.written.set_result(None)
        else:
            pending.written.set_exception(error)
