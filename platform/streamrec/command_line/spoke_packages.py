"""Which spokes are installed, and the files that they bring, without importing anything of theirs."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

SPOKE_GROUP: Final = "streamrec.spokes"
"""The group of entry points that spokes are declared in."""


def spoke_files(name: str) -> list[Path]:
    """The file of this name of every installed spoke that has one, sorted by the spoke's name.

    It lies in the package that holds the module of the spoke's commands, or in one around that; the nearest
    one counts. A package that cannot be found has no files: its commands say so when they are asked for.
    """
    declared = sorted(entry_points(group=SPOKE_GROUP), key=lambda entry_point: entry_point.name)
    found = [_nearest(entry_point.value.partition(":")[0].split("."), name) for entry_point in declared]
    return [path for path in dict.fromkeys(found) if path is not None]


def _nearest(module: list[str], name: str) -> Path | None:
    package = find_spec(module[0])
    for location in (package.submodule_search_locations or ()) if package is not None else ():
        for depth in range(len(module) - 1, 0, -1):
            path = Path(location, *module[1:depth], name)
            if path.is_file():
                return path
    return None
