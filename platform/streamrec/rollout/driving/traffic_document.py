"""The traffic document in the hands of those who change it: locked, published by compare-and-set, and told.

A change of champions is told to the ledger first, then to the history, and published then. Whoever dies in
between leaves a ledger that knows of more than ever served, which the next change finds and takes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import (
    DependencyError,
    DocumentRefusedError,
    NotReadyError,
    StreamRecError,
)
from streamrec.contracts.models import ModelRef
from streamrec.contracts.traffic import SlotTraffic, Traffic
from streamrec.documents.document_kind import VerifiedDocument
from streamrec.files.durable_files import make_folder
from streamrec.files.locks import only_holder
from streamrec.ledger.ledger import Ledger
from streamrec.rollout.told_changes import By, tell
from streamrec.rollout.traffic_changes import Change
from streamrec.rollout.traffic_files import TrafficFiles
from streamrec.rollout.traffic_history import ChangeKind, TrafficChange, append_change

_LOG = logging.getLogger(__name__)

LOCK_TIMEOUT_S: Final = 5.0


class NothingChangedError(DependencyError):
    """The ledger could not be told of a change, so that it was not made."""


class TrafficDocument:
    """The published document, and the lock of whoever changes it."""

    def __init__(self, files: TrafficFiles, keys: Path) -> None:
        """Nothing is read yet.

        Args:
            files: Where it lies.
            keys: Folder of the key that signs.
        """
        self.files = files
        self.publisher = files.open_publisher(keys)

    @contextmanager
    def changing(self, timeout_s: float | None = None) -> Iterator[None]:
        """Be the only one who changes it during the body.

        Args:
            timeout_s: Longest wait for somebody else; `LOCK_TIMEOUT_S` where None.

        Raises:
            OverloadedError: Somebody else is changing it.
            DependencyError: Its folder cannot be written.
        """
        try:
            make_folder(self.files.folder)
        except OSError as error:
            raise DependencyError(f"{self.files.folder} cannot be written: {error.strerror}") from error
        held = "somebody else is changing what serves; see what serves now and try again"
        wait_s = LOCK_TIMEOUT_S if timeout_s is None else timeout_s
        with only_holder(self.files.writer_lock, held, timeout_s=wait_s):
            yield

    def published(self) -> VerifiedDocument[Traffic] | None:
        """What is published; None where nothing is.

        Raises:
            NotReadyError: What lies there is refused by every replica: what it says may be anybody's.
            TemporaryError: It cannot be read.
        """
        try:
            return self.publisher.published()
        except DocumentRefusedError as error:
            raise NotReadyError(
                f"{self.files.document} is refused ({error.code}): {error}; replicas go on with the last "
                "good one; remove the file once you know why, and promote what should serve"
            ) from error

    def publish(
        self,
        slots: Mapping[str, SlotTraffic],
        prepare: Sequence[ModelRef],
        expected_revision: int,
        revision: int | None = None,
    ) -> VerifiedDocument[Traffic]:
        """Publish the next revision. Arguments and errors as `DocumentPublisher.publish`."""
        body = Traffic(1, slots, tuple(prepare)).to_json()
        for added in ("schema", "revision"):
            del body[added]
        return self.publisher.publish(body, expected_revision=expected_revision, revision=revision)


def flip(
    document: TrafficDocument,
    ledger: Ledger,
    change: Change,
    expected_revision: int,
    by: By,
    clock: Callable[[], datetime],
    prepare: Sequence[ModelRef] = (),
) -> int:
    """Change champions: tell the ledger and the history, then publish. Called within `changing`.

    Args:
        document: What is changed.
        ledger: Hears of it first.
        change: What is changed.
        expected_revision: Of the document that it was decided on.
        by: Who changes it, and why.
        clock: Now, for the history.
        prepare: Versions that are to stay loaded.

    Returns:
        The revision in force now.

    Raises:
        NothingChangedError: The ledger cannot be told.
        StreamRecError: It could not be published; the ledger is told that it never came about.
    """
    revision = document.publisher.next_revision(expected_revision)
    try:
        tell(ledger, change.kind, revision, change.before, change.after, by)
    except StreamRecError as error:
        raise NothingChangedError(f"{error}; nothing was changed, and what served before serves") from error
    line = TrafficChange(
        revision, clock(), by.actor, change.kind, by.reason, change.before, change.after, change.undoes
    )
    try:
        append_change(document.files.history, line)
        document.publish(change.slots, prepare, expected_revision, revision)
    except StreamRecError:
        # The ledger has said what did not come about; it says that too, since no entry is taken out.
        undone = By(by.actor, by.role, f"revision {revision} could not be published")
        try:
            tell(ledger, ChangeKind.ROLLED_BACK, revision, change.after, change.before, undone)
        except StreamRecError:
            _LOG.exception("the ledger says that revision %d serves; the next one takes that back", revision)
        raise
    return revision
