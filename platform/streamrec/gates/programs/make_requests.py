"""Lets a spoke make its table of evaluation requests out of a data folder, and writes it as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streamrec.gates.programs.loading import DATA, named_function

REQUESTS_FILE: Final = "requests.parquet"


def make_requests(arguments: Mapping[str, Any], inputs: Mapping[str, Path], output: Path) -> dict[str, Any]:
    """Make the table.

    Args:
        arguments: ``function``: ``module:function``, given the data folder.
        inputs: ``data``.
        output: Gets `REQUESTS_FILE`.
    """
    table = named_function(arguments["function"])(inputs[DATA])
    table.to_parquet(output / REQUESTS_FILE, index=False)
    return {"rows": len(table)}
