"""`streamrec up` over two small parts instead of the platform's: each answers, and nothing more.

Usage: up_process.py WORKSPACE PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

from services.cli.main import main
from services.cli.up import parts
from services.cli.up.parts import Part

SMALL_PART = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
print("listens", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def small_part(name: str, port: int) -> Part:
    command = (sys.executable, "-S", "-c", SMALL_PART, str(port))
    return Part(name, command, "127.0.0.1", port, "/readyz", "answers")


def run(workspace: Path, port: int) -> None:
    """Run the command."""
    parts.serving_parts = lambda *_arguments: (small_part("one", port),)  # type: ignore[assignment]
    parts.control_plane_part = lambda *_arguments: small_part("two", port + 1)  # type: ignore[assignment]
    sys.argv = ["streamrec", "up", "--workspace", str(workspace)]
    main()


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
