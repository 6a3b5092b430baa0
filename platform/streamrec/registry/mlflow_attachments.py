"""Files that are kept at the run of a version, beside its artifact: reports, and the data it is judged on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from streamrec.contracts.models import ModelRef
from streamrec.files.durable_files import make_folder, write_atomically
from streamrec.registry.embedded_mlflow import artifact_folder

ATTACHMENTS: Final = "attachments"
"""Their folder within the run: the artifact's own holds exactly what its manifest lists."""


def attach(client: Any, root: Path | None, ref: ModelRef, name: str, content: bytes) -> None:
    """Keep a file at a run.

    Args:
        client: MLflow's, of the server that has the run.
        root: Folder of all artifacts; None where a server decides where they are.
        ref: The version.
        name: Of the file.
        content: What is in it.
    """
    run_id = _run_id(client, ref)
    if root is not None:
        folder = artifact_folder(root, run_id, ref).parent / ATTACHMENTS
        make_folder(folder)
        write_atomically(folder / name, content)
        return
    with tempfile.TemporaryDirectory(prefix="streamrec-attach-") as temporary:
        path = Path(temporary) / name
        path.write_bytes(content)
        client.log_artifact(run_id, str(path), ATTACHMENTS)


def attached(client: Any, root: Path | None, ref: ModelRef, name: str) -> bytes | None:
    """Read a file that is kept at a run; None where there is none of that name."""
    run_id = _run_id(client, ref)
    if root is not None:
        path = artifact_folder(root, run_id, ref).parent / ATTACHMENTS / name
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None
    listed = {Path(file.path).name for file in client.list_artifacts(run_id, ATTACHMENTS)}
    if name not in listed:
        return None
    with tempfile.TemporaryDirectory(prefix="streamrec-attached-") as temporary:
        return Path(client.download_artifacts(run_id, f"{ATTACHMENTS}/{name}", temporary)).read_bytes()


def _run_id(client: Any, ref: ModelRef) -> str:
    return str(client.get_model_version(ref.name, str(ref.version)).run_id)
