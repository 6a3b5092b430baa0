"""Appends to an item log until it is killed; prints what is acknowledged: append_process.py FOLDER"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from streamrec.contracts.items import Item
from streamrec.items.item_log import FileItemLog


def main(folder: Path) -> None:
    log = FileItemLog(folder, snapshot_after=5)
    for number in itertools.count():
        entries = log.append([Item(f"item-{number % 40}", f"edition {number}"), Item("newest", str(number))])
        print(entries[-1].revision, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
