"""The traffic document in files: published by one writer, followed by every replica that sees the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamrec.contracts.traffic import TRAFFIC_SCHEMA, Traffic
from streamrec.documents.document_kind import DocumentKind
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.publisher import DocumentPublisher

TRAFFIC: Final = DocumentKind(TRAFFIC_SCHEMA, Traffic.from_json, maximum_bytes=1_048_576)
"""A thousand slots with their holdbacks fit."""


@dataclass(frozen=True)
class TrafficFiles:
    """Where the traffic document lies, and what belongs to it. Can be sent to another process.

    Attributes:
        folder: Holds all of it; made by whoever writes first.
        public_keys: Folder of the keys whose signatures count.
    """

    folder: Path
    public_keys: Path

    @property
    def document(self) -> Path:
        """The published document."""
        return self.folder / "traffic.json"

    @property
    def last_good_copy(self) -> Path:
        """The last good one, kept by the replicas of this machine for their next start."""
        return self.folder / "traffic.last_good.json"

    @property
    def versions(self) -> Path:
        """One signed document for each version that the traffic document ever named."""
        return self.folder / "versions"

    @property
    def last_good_revocations(self) -> Path:
        """The last good list of revoked verdicts, kept by the replicas of this machine."""
        return self.folder / "revocations.last_good.json"

    @property
    def heartbeats(self) -> Path:
        """One file for each replica."""
        return self.folder / "heartbeats"

    @property
    def tallies(self) -> Path:
        """One file for each process that answers."""
        return self.folder / "tallies"

    @property
    def controller_lock(self) -> Path:
        """Held by whoever drives the rollouts."""
        return self.folder / "controller.lock"

    @property
    def history(self) -> Path:
        """What was changed, by whom and why, oldest first."""
        return self.folder / "history.jsonl"

    @property
    def writer_lock(self) -> Path:
        """Held by whoever changes the traffic document."""
        return self.folder / "writer.lock"

    def open_follower(self) -> DocumentFollower[Traffic]:
        """Return a follower that has started with the last good copy, where there is one."""
        return DocumentFollower(
            FileDocumentStore(self.document),
            TRAFFIC,
            PublicKeyFolder(self.public_keys),
            copy=FileDocumentStore(self.last_good_copy),
        )

    def open_publisher(self, keys: Path) -> DocumentPublisher[Traffic]:
        """Return the publisher that signs with the key in the folder ``keys``."""
        return DocumentPublisher(FileDocumentStore(self.document), TRAFFIC, KeyFolder(keys))
