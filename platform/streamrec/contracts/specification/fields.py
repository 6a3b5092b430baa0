"""Types of fields that several parts of a specification share."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from streamrec.contracts.json_documents import NO_CONTROL_CHARACTERS

FUNCTION_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*"
"""``module:function``; the module is one that is installed beside the platform."""

FunctionName = Annotated[str, Field(pattern=f"^{FUNCTION_PATTERN}$", max_length=200)]
AttributeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Of a group of people or creators, such as ``language``; its column is ``group.language``."""

TeamName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", max_length=64)]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=64)]
ShortText = Annotated[str, Field(max_length=400, pattern=NO_CONTROL_CHARACTERS)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Confidence = Annotated[float, Field(ge=0.5, lt=1.0, allow_inf_nan=False)]
Hours = Annotated[float, Field(gt=0.0, le=24.0 * 366.0, allow_inf_nan=False)]


def inside_the_folder(path: str) -> str:
    """Return ``path`` if it leads to a file inside the model's folder; raises `ValueError` where not."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or path.strip() in ("", "."):
        raise ValueError("must be the path of a file inside the model's folder, such as evaluation.parquet")
    return path


RelativePath = Annotated[
    str, Field(max_length=200, pattern=NO_CONTROL_CHARACTERS), AfterValidator(inside_the_folder)
]
"""Of a file, from the folder that holds ``model.yaml``."""
