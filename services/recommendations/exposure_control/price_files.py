"""Exposure prices in files: published by the controller, followed by replicas that see the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.recommendations.exposure_control.exposure_prices import EXPOSURE_PRICES, ExposurePrices
from streamrec.documents.file_store import FileDocumentStore
from streamrec.documents.follower import DocumentFollower
from streamrec.documents.key_folder import KeyFolder, PublicKeyFolder
from streamrec.documents.publisher import DocumentPublisher


@dataclass(frozen=True)
class PriceFiles:
    """Where a replica finds exposure prices. Paths alone, so that it can be sent to the replica's process.

    Attributes:
        document: The published document; it need not exist yet.
        last_good_copy: Where replicas on this machine keep the last good one for their next start.
        public_keys: Folder of the keys whose signatures count.
    """

    document: Path
    last_good_copy: Path
    public_keys: Path

    def open_follower(self) -> DocumentFollower[ExposurePrices]:
        """Return a follower that has started with the last good copy, where there is one."""
        return DocumentFollower(
            FileDocumentStore(self.document),
            EXPOSURE_PRICES,
            PublicKeyFolder(self.public_keys),
            copy=FileDocumentStore(self.last_good_copy),
        )


def open_price_publisher(document: Path, keys: Path) -> DocumentPublisher[ExposurePrices]:
    """Return the publisher of the file ``document``, which signs with the key in the folder ``keys``."""
    return DocumentPublisher(FileDocumentStore(document), EXPOSURE_PRICES, KeyFolder(keys))
