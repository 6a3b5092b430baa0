"""Writing small files in one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamrec.contracts.errors import InvalidInputError
from streamrec.files.durable_files import make_folder, write_atomically


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` in one step; whoever reads it sees the old text or the new one.

    Raises:
        InvalidInputError: The file cannot be written.
    """
    try:
        make_folder(path.parent)
        write_atomically(path, text.encode())
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be written ({error.strerror})") from error


def write_json(path: Path, content: Any) -> None:
    """Replace ``path`` with strict JSON.

    Raises:
        ValueError: ``content`` holds NaN or an infinity, which JSON does not know.
        InvalidInputError: The file cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
