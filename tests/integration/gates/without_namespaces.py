"""Starts the sandbox in a process that may make no user namespaces."""

from __future__ import annotations

import sys

from streamrec.gates.isolation import namespaces, sandbox_program

namespaces.leave_the_network = lambda: False
sandbox_program.main(sys.argv[1:])
