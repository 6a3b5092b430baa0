"""What would stop serving if a key were revoked."""

from __future__ import annotations

from pathlib import Path

from streamrec.command_line.workspace import Workspace
from streamrec.contracts.errors import DocumentRefusedError


def serving_documents_of(workspace: Workspace, key_id: str) -> tuple[Path, ...]:
    """The documents by which versions serve now and that a key signed; empty where none serves.

    Raises:
        TemporaryError: One of them cannot be read.
    """
    from streamrec.command_line.composition import champion_versions, traffic_files
    from streamrec.documents.file_store import FileDocumentStore
    from streamrec.documents.signed_form import named_key
    from streamrec.documents.store import NoContent
    from streamrec.registry.revocations import revocations_path
    from streamrec.registry.signed_verdicts import MODEL_VERDICT, verdict_path
    from streamrec.registry.signed_versions import document_path

    try:
        champions = champion_versions(workspace)
    except DocumentRefusedError:
        return ()  # replicas refuse it already
    if not champions:
        return ()
    files = traffic_files(workspace)
    paths = [files.document, revocations_path(files.versions)]
    for ref in sorted(champions.values()):
        paths += [document_path(files.versions, ref), verdict_path(files.versions, ref)]
    maximum_bytes = MODEL_VERDICT.maximum_bytes  # the largest of them

    def signer(path: Path) -> str | None:
        stored = FileDocumentStore(path).read(maximum_bytes)
        return None if isinstance(stored, NoContent) else named_key(stored.content, maximum_bytes)

    return tuple(path for path in paths if signer(path) == key_id)
