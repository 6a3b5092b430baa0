"""The control plane as a part of `streamrec up`: the process that it starts.

Usage: python -m services.cli.up.control_plane_process WORKSPACE HOST PORT
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from services.control_plane.serve import serve
from streamrec.command_line.workspace import Workspace


def main() -> None:
    """Serve until a signal."""
    workspace, host, port = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(Workspace(Path(workspace)), host=host, port=int(port))


if __name__ == "__main__":
    main()
