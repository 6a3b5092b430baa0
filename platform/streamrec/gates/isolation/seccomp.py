"""Which system calls a process may make: no socket, no other process, nothing that changes the machine.

A classic BPF program, as in Linux's ``Documentation/userspace-api/seccomp_filter.rst``. The numbers of the
calls are those of the kernel's tables for the two machines that are known here. Needs no root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from streamrec.gates.isolation.kernel import PR_SET_SECCOMP, process_control

_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
_KILL: Final = 0x80000000
_FILTER_MODE: Final = 2

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_BITS: Final = 0x45
_RETURN: Final = 0x06

_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
_CLONE_THREAD: Final = 0x00010000
_X32_CALLS: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of the system calls, and of the machine in the kernel's audit records."""

    architecture: int
    socket: int
    clone: int
    kill: tuple[int, ...]
    prlimit: int
    refused: tuple[int, ...]


# On both: sending signals by a file, io_uring (which makes sockets past any filter), the newer mount calls,
# files of other processes, memory that belongs to no file.
_REFUSED_EVERYWHERE: Final = (424, 425, 428, 429, 430, 431, 432, 433, 434, 438, 440, 442, 447)
_CLONE3: Final = 435

_MACHINES: Final[Mapping[str, _Machine]] = MappingProxyType(
    {
        "x86_64": _Machine(
            architecture=0xC000003E,
            socket=41,
            clone=56,
            kill=(62, 234),
            prlimit=302,
            # By number: shmget, fork, vfork, execve, semget, msgget, ptrace, syslog, rt_sigqueueinfo,
            # mknod, pivot_root, adjtimex, chroot, acct, settimeofday, mount, umount2, swapon,
            # swapoff, reboot, sethostname, setdomainname, iopl, ioperm, init_module, delete_module, quotactl,
            # tkill, clock_settime, mq_open, kexec_load, add_key, request_key, keyctl, mknodat, unshare,
            # rt_tgsigqueueinfo, perf_event_open, open_by_handle_at, clock_adjtime, setns, process_vm_readv,
            # process_vm_writev, finit_module, memfd_create, kexec_file_load, bpf, execveat, userfaultfd.
            refused=(
                *(
                    29,
                    57,
                    58,
                    59,
                    64,
                    68,
                    101,
                    103,
                    129,
                    133,
                    155,
                    159,
                    161,
                    163,
                    164,
                    165,
                    166,
                    167,
                    168,
                    169,
                ),
                *(170, 171, 172, 173, 175, 176, 179, 200, 227, 240, 246, 248, 249, 250, 259, 272, 297, 298),
                *(304, 305, 308, 310, 311, 313, 319, 320, 321, 322, 323),
            ),
        ),
        "aarch64": _Machine(
            architecture=0xC00000B7,
            socket=198,
            clone=220,
            kill=(129, 131),
            prlimit=261,
            # mknodat, umount2, mount, pivot_root, chroot, quotactl, acct, unshare, kexec_load, init_module,
            # delete_module, clock_settime, syslog, ptrace, tkill, rt_sigqueueinfo, reboot, sethostname,
            # setdomainname, settimeofday, adjtimex, mq_open, msgget, semget, shmget, add_key, request_key,
            # keyctl, execve, swapon, swapoff, rt_tgsigqueueinfo, perf_event_open, open_by_handle_at,
            # clock_adjtime, setns, process_vm_readv, process_vm_writev, finit_module, memfd_create, bpf,
            # execveat, userfaultfd, kexec_file_load.
            refused=(
                *(
                    33,
                    39,
                    40,
                    41,
                    51,
                    60,
                    89,
                    97,
                    104,
                    105,
                    106,
                    112,
                    116,
                    117,
                    130,
                    138,
                    142,
                    161,
                    162,
                    170,
                    171,
                ),
                *(180, 186, 190, 194, 217, 218, 219, 221, 224, 225, 240, 241, 265, 266, 268, 270, 271, 273),
                *(279, 280, 281, 282, 294),
            ),
        ),
    }
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse_calls() -> bool:
    """Set the filter for this process and its threads; False where the kernel or the machine has none.

    The process must have given up new privileges (``PR_SET_NO_NEW_PRIVS``). Threads may be made, processes
    may not; a signal reaches this process alone.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    instructions = _instructions(machine, os.getpid())
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    try:
        process_control(PR_SET_SECCOMP, ctypes.c_ulong(_FILTER_MODE), ctypes.byref(program))
    except OSError:
        return False
    return True


def _instructions(machine: _Machine, own_process: int) -> list[bytes]:
    refuse = _REFUSE | errno.EPERM
    lines = [
        _line(_LOAD, _ARCHITECTURE),
        _line(_JUMP_EQUAL, machine.architecture, then=1),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
        _line(_JUMP_AT_LEAST, _X32_CALLS, otherwise=1),
        _line(_RETURN, refuse),
    ]
    for number in (machine.socket, *machine.refused, *_REFUSED_EVERYWHERE):
        lines += [_line(_JUMP_EQUAL, number, otherwise=1), _line(_RETURN, refuse)]
    # The C library falls back to clone, whose flags can be looked at; those of clone3 lie behind a pointer.
    lines += [_line(_JUMP_EQUAL, _CLONE3, otherwise=1), _line(_RETURN, _REFUSE | errno.ENOSYS)]
    lines += _if_call(machine.clone, _line(_JUMP_BITS, _CLONE_THREAD, otherwise=1), refuse)
    for number in machine.kill:
        lines += _if_call(number, _line(_JUMP_EQUAL, own_process, otherwise=1), refuse)
    # Limits of this process may be read and lowered; those of others are none of its business.
    lines += [
        _line(_JUMP_EQUAL, machine.prlimit, otherwise=5),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_JUMP_EQUAL, 0, then=2),
        _line(_JUMP_EQUAL, own_process, then=1),
        _line(_RETURN, refuse),
        _line(_RETURN, _ALLOW),
        _line(_RETURN, _ALLOW),
    ]
    return lines


def _if_call(number: int, condition: bytes, refuse: int) -> list[bytes]:
    """Allow a call whose first argument fulfils a condition, which jumps over a line where it does not."""
    return [
        _line(_JUMP_EQUAL, number, otherwise=4),
        _line(_LOAD, _FIRST_ARGUMENT),
        condition,
        _line(_RETURN, _ALLOW),
        _line(_RETURN, refuse),
    ]


def _line(code: int, operand: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, operand)
