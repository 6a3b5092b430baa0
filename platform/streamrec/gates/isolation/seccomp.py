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


def _numbers(table: str) -> tuple[int, ...]:
    """Numbers of ``NAME=NUMBER ...``."""
    return tuple(int(entry.partition("=")[2]) for entry in table.split())


_REFUSED_EVERYWHERE: Final = _numbers(
    "pidfd_send_signal=424 io_uring_setup=425 open_tree=428 move_mount=429 fsopen=430 fsconfig=431 "
    "fsmount=432 fspick=433 pidfd_open=434 pidfd_getfd=438 process_madvise=440 mount_setattr=442 "
    "memfd_secret=447"
)
"""Calls that are new enough to have one number on all machines. io_uring makes sockets past any filter."""

_CLONE3: Final = 435

_MACHINES: Final[Mapping[str, _Machine]] = MappingProxyType(
    {
        "x86_64": _Machine(
            architecture=0xC000003E,
            socket=41,
            clone=56,
            kill=(62, 234),
            prlimit=302,
            refused=_numbers(
                "shmget=29 fork=57 vfork=58 execve=59 semget=64 msgget=68 ptrace=101 syslog=103 "
                "rt_sigqueueinfo=129 mknod=133 pivot_root=155 adjtimex=159 chroot=161 acct=163 "
                "settimeofday=164 mount=165 umount2=166 swapon=167 swapoff=168 reboot=169 "
                "sethostname=170 setdomainname=171 iopl=172 ioperm=173 init_module=175 "
                "delete_module=176 quotactl=179 tkill=200 clock_settime=227 mq_open=240 "
                "kexec_load=246 add_key=248 request_key=249 keyctl=250 mknodat=259 unshare=272 "
                "rt_tgsigqueueinfo=297 perf_event_open=298 open_by_handle_at=304 clock_adjtime=305 "
                "setns=308 process_vm_readv=310 process_vm_writev=311 finit_module=313 "
                "memfd_create=319 kexec_file_load=320 bpf=321 execveat=322 userfaultfd=323"
            ),
        ),
        "aarch64": _Machine(
            architecture=0xC00000B7,
            socket=198,
            clone=220,
            kill=(129, 131),
            prlimit=261,
            refused=_numbers(
                "mknodat=33 umount2=39 mount=40 pivot_root=41 chroot=51 quotactl=60 acct=89 "
                "unshare=97 kexec_load=104 init_module=105 delete_module=106 clock_settime=112 "
                "syslog=116 ptrace=117 tkill=130 rt_sigqueueinfo=138 reboot=142 sethostname=161 "
                "setdomainname=162 settimeofday=170 adjtimex=171 mq_open=180 msgget=186 semget=190 "
                "shmget=194 add_key=217 request_key=218 keyctl=219 execve=221 swapon=224 swapoff=225 "
                "rt_tgsigqueueinfo=240 perf_event_open=241 open_by_handle_at=265 clock_adjtime=266 "
                "setns=268 process_vm_readv=270 process_vm_writev=271 finit_module=273 "
                "memfd_create=279 bpf=280 execveat=281 userfaultfd=282 kexec_file_load=294"
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
