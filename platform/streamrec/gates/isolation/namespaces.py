"""A network with nothing in it: user, network and IPC namespaces, without root where allowed."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

from streamrec.gates.isolation.kernel import unshare

_NEW_USER: Final = 0x10000000
_NEW_NETWORK: Final = 0x40000000
_NEW_IPC: Final = 0x08000000

_NOWHERE: Final = ("192.0.2.1", 9)
"""An address of no machine (RFC 5737). It is never asked: the kernel only looks for a way to it."""


def leave_the_network() -> bool:
    """Move this process, which must have one thread, into an empty network; False where it may not."""
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    except OSError:
        return False
    return without_network()


def without_network() -> bool:
    """Whether there is no way to any network: tried, not assumed."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_NOWHERE)
    except OSError as error:
        return error.errno in (errno.ENETUNREACH, errno.EACCES, errno.EPERM)
    return False
