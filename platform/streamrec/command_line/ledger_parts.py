"""The ledger of a workspace, and where it is anchored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from streamrec.command_line.workspace import Workspace

if TYPE_CHECKING:
    from streamrec.contracts.ledger_entry import LedgerAnchor
    from streamrec.documents.publisher import DocumentPublisher
    from streamrec.documents.store import DocumentStore
    from streamrec.ledger.ledger import Ledger

LEDGER_VARIABLE: Final = "STREAMREC_LEDGER"
"""``postgresql://USER:PASSWORD@HOST/DATABASE`` where several machines append to one ledger."""

LEDGER_ANCHOR_VARIABLE: Final = "STREAMREC_LEDGER_ANCHOR"
"""Names the file that the ledger is anchored in: best where who can change the ledger cannot write."""

_ANCHOR_NOTE: Final = "streamrec.ledger_anchor"


def open_ledger(workspace: Workspace) -> Ledger:
    """Open the ledger, making it on first use: the workspace's own, unless `LEDGER_VARIABLE` names one.

    Its end is anchored with every append.

    Raises:
        InvalidInputError: The variable names no database that can hold a ledger.
        NotReadyError: A newer release has written it.
        TemporaryError: The database does not answer or cannot be written.
        ArtifactError: Its file is damaged.
    """
    from streamrec.ledger.anchors import AnchoredLedger
    from streamrec.ledger.sql_ledger import SqlLedger

    url = os.environ.get(LEDGER_VARIABLE)
    ledger = SqlLedger(url) if url else SqlLedger.in_file(workspace.ledger)
    return AnchoredLedger(ledger, anchor_publisher(workspace, anchor_store(anchor_file(workspace))))


def has_ledger(workspace: Workspace) -> bool:
    """Whether there is one to open; looking makes none."""
    return bool(os.environ.get(LEDGER_VARIABLE)) or workspace.ledger.exists()


def anchor_file(workspace: Workspace) -> Path:
    """Where the ledger is anchored: in the workspace, unless `LEDGER_ANCHOR_VARIABLE` names another file."""
    named = os.environ.get(LEDGER_ANCHOR_VARIABLE)
    return Path(named) if named else workspace.ledger_anchor


def anchor_store(file: Path) -> DocumentStore:
    """An anchor in a file."""
    from streamrec.documents.file_store import FileDocumentStore

    return FileDocumentStore(file)


def registry_anchor_store(workspace: Workspace) -> DocumentStore:
    """The anchor in a tag of the model registry."""
    from streamrec.command_line.composition import registry_settings
    from streamrec.registry.mlflow_registry import MlflowModelRegistry
    from streamrec.registry.noted_documents import NotedDocumentStore

    return NotedDocumentStore(MlflowModelRegistry(registry_settings(workspace)), _ANCHOR_NOTE)


def anchor_publisher(workspace: Workspace, store: DocumentStore) -> DocumentPublisher[LedgerAnchor]:
    """Puts anchors there, signed with the workspace's key."""
    from streamrec.documents.key_folder import KeyFolder
    from streamrec.documents.publisher import DocumentPublisher
    from streamrec.ledger.anchors import LEDGER_ANCHOR

    return DocumentPublisher(store, LEDGER_ANCHOR, KeyFolder(workspace.keys))
