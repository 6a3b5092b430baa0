"""The port between the controller and the replicas, and its twin in memory."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import Protocol

from services.recommendations.exposure_control.price_document import PriceDocument, parse_price_document
from streamrec.contracts.errors import DependencyError, InvalidInputError

_LOG = logging.getLogger(__name__)


class PriceSource(Protocol):
    """Where a replica finds prices. Safe to use from several threads."""

    @property
    def current(self) -> PriceDocument | None:
        """The last good document that `refresh` saw; None before there was one."""
        ...

    @property
    def refused(self) -> int:
        """Documents that were refused, each counted once for as long as it lies there."""
        ...

    def refresh(self) -> bool:
        """Look again; True if there is a newer document now. Never raises: what is damaged, out of range,
        older than the current one, or cannot be read leaves the current one in place.
        """
        ...


class PricePublisher(Protocol):
    """Where the controller puts prices."""

    def publish(self, document: PriceDocument) -> None:
        """Replace the published document; readers see the old one or the new one.

        Raises:
            InvalidInputError: The revision is not above that of the published document.
            DependencyError: It could not be written; the old one stays.
        """
        ...

    def published(self) -> PriceDocument | None:
        """Return what is published; None if there is nothing yet.

        Raises:
            InvalidInputError: What lies there is no price document.
            DependencyError: It cannot be read.
        """
        ...


class PolledPriceSource(ABC):
    """What every source shares: parse, compare revisions, keep the last good document."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: PriceDocument | None = None
        self._refused = 0
        self._last_problem = ""

    @property
    def current(self) -> PriceDocument | None:
        """See `PriceSource.current`."""
        return self._current

    @property
    def refused(self) -> int:
        """See `PriceSource.refused`."""
        return self._refused

    def refresh(self) -> bool:
        """See `PriceSource.refresh`."""
        with self._lock:
            try:
                content = self._read_changed()
                if content is None:
                    return False
                document = parse_price_document(content)
                if self._current is not None and document.revision < self._current.revision:
                    raise InvalidInputError(
                        "revision",
                        f"{document.revision} is older than {self._current.revision}, which is served",
                    )
            except (InvalidInputError, DependencyError) as error:
                self._refuse(str(error))
                return False
            self._last_problem = ""
            if self._current is not None and document.revision == self._current.revision:
                return False
            self._current = document
            return True

    @abstractmethod
    def _read_changed(self) -> bytes | None:
        """Return the published bytes; None if there are none, or if they are those that were read before.

        Raises:
            InvalidInputError: What lies there cannot be a document.
            DependencyError: It cannot be read.
        """

    def _refuse(self, problem: str) -> None:
        # Once, not with every poll: a bad document lies there until somebody replaces it.
        if problem != self._last_problem:
            self._refused += 1
            self._last_problem = problem
            _LOG.warning("price document refused, the last good one stays: %s", problem)


class MemoryPriceBoard(PolledPriceSource):
    """Publisher and source in one process; what `FilePricePublisher` and `FilePriceSource` are in a file."""

    def __init__(self) -> None:
        super().__init__()
        self.content: bytes | None = None

    def publish(self, document: PriceDocument) -> None:
        """See `PricePublisher.publish`."""
        check_newer(document, self.published())
        self.content = document.to_bytes()

    def published(self) -> PriceDocument | None:
        """See `PricePublisher.published`."""
        return None if self.content is None else parse_price_document(self.content)

    def _read_changed(self) -> bytes | None:
        return self.content


def check_newer(document: PriceDocument, published: PriceDocument | None) -> None:
    """Refuse a document that replicas would ignore.

    Raises:
        InvalidInputError: The revision is not above that of ``published``.
    """
    if published is not None and document.revision <= published.revision:
        raise InvalidInputError(
            "revision", f"{document.revision} is not above {published.revision}, which is published"
        )
