"""python -m services.control_plane --workspace DIR [--host ADDRESS] [--port PORT]"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from services.control_plane.serve import DEFAULT_PORT, serve
from streamrec.command_line.workspace import DEFAULT_WORKSPACE, Workspace


def main() -> None:
    """Serve the control plane of a workspace until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m services.control_plane", description=main.__doc__)
    parser.add_argument("--workspace", type=Path, default=DEFAULT_WORKSPACE)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(Workspace(asked.workspace), host=asked.host, port=asked.port)


if __name__ == "__main__":
    main()
