"""Calls to the Linux kernel that Python's standard library does not have, by way of the C library.

On any other system each of them raises `OSError`, as on a kernel that does not know the call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38

_LIBRARY: Final = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: Any) -> int:
    """Make a system call by its number.

    Raises:
        OSError: The kernel refused it, or does not know it.
    """
    return _called("syscall", ctypes.c_long(number), *arguments)


def process_control(option: int, *arguments: Any) -> int:
    """Call ``prctl``. Raises `OSError`."""
    padded = (*arguments, *(ctypes.c_ulong(0) for _ in range(4 - len(arguments))))
    return _called("prctl", ctypes.c_int(option), *padded)


def unshare(flags: int) -> None:
    """Leave namespaces that are shared with other processes. Raises `OSError`."""
    _called("unshare", ctypes.c_int(flags))


def _called(name: str, *arguments: Any) -> int:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    returned = int(getattr(_LIBRARY, name)(*arguments))
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned
