"""Writing small files in one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamrec.contracts.errors import InvalidInputError


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` in one step; whoever reads it sees the old text or the new one.

    Raises:
        InvalidInputError: The file cannot be written.
    """
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be written ({error.strerror})") from error


def write_json(path: Path, content: Any) -> None:
    """Replace ``path`` with strict JSON.

    Raises:
        ValueError: ``content`` holds NaN or an infinity, which JSON does not know.
        InvalidInputError: The file cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
