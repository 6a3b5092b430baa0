"""Which files a process may touch, by Landlock: it sets the list for itself, without root, for good.

The numbers are those of Linux's ``include/uapi/linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from streamrec.gates.isolation.kernel import system_call

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIRECTORY: Final = 1 << 3
_TRUNCATE: Final = 1 << 14
_OF_FILES: Final = 1 | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15
_REFER: Final = 1 << 13
_FIRST: Final = (1 << 13) - 1
"""The rights of the first version; later ones added one each."""

_ADDED: Final = ((2, _REFER), (3, _TRUNCATE), (5, 1 << 15))
_WITHOUT_TCP: Final = 4
_WITHOUT_SIGNALS: Final = 6

_READ: Final = _READ_FILE | _READ_DIRECTORY
_CREATE_AND_REMOVE: Final = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | _REFER
_WRITE: Final = _READ | _WRITE_FILE | _TRUNCATE | _CREATE_AND_REMOVE


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def allow_only(*, read: Iterable[Path], write: Iterable[Path], list_names: Iterable[Path]) -> bool:
    """Keep every other file from this process; False where the kernel cannot.

    The process must have given up new privileges (``PR_SET_NO_NEW_PRIVS``).

    Args:
        read: Files and folders; what does not exist is left out.
        write: Folders in which files may be read, made, changed and removed.
        list_names: Folders whose names may be listed, all the way down, without reading any file.
    """
    try:
        version = system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
        handled = _FIRST
        for since, right in _ADDED:
            handled |= right if version >= since else 0
        ruleset = _Ruleset(
            handled, 3 if version >= _WITHOUT_TCP else 0, 3 if version >= _WITHOUT_SIGNALS else 0
        )
        size = 8 if version < _WITHOUT_TCP else 16 if version < _WITHOUT_SIGNALS else 24
        rules = system_call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    except OSError:
        return False
    try:
        for paths, rights in ((list_names, _READ_DIRECTORY), (read, _READ), (write, _WRITE)):
            for path in paths:
                _allow(rules, path, rights & handled)
        system_call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    except OSError:
        return False
    finally:
        os.close(rules)
    return True


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        rule = _PathBeneath(rights if path.is_dir() else rights & _OF_FILES, descriptor)
        if rule.allowed_access:
            system_call(
                _ADD_RULE,
                ctypes.c_int(rules),
                ctypes.c_int(_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
    finally:
        os.close(descriptor)
