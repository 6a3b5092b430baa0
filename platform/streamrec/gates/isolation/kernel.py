"""Calls to the Linux kernel that Python's standard library does not have, by way of the C library."""

from __future__ import annotations

import ctypes
import os
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
    return _checked(int(_LIBRARY.syscall(ctypes.c_long(number), *arguments)))


def process_control(option: int, *arguments: Any) -> int:
    """Call ``prctl``. Raises `OSError`."""
    padded = (*arguments, *(ctypes.c_ulong(0) for _ in range(4 - len(arguments))))
    return _checked(int(_LIBRARY.prctl(ctypes.c_int(option), *padded)))


def unshare(flags: int) -> None:
    """Leave namespaces that are shared with other processes. Raises `OSError`."""
    _checked(int(_LIBRARY.unshare(ctypes.c_int(flags))))


def _checked(returned: int) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned
