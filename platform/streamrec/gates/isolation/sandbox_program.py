"""The program that isolates its own process and then runs a program that is not trusted.

`subprocess_runner` starts it by its path. It reads the task from standard input, limits and isolates itself,
writes one line about how that was enforced, and only then imports anything that it was asked to run. What the
program may import, it may read; of everything else it sees its inputs alone.

Usage: sandbox_program.py REPORT_DESCRIPTOR < TASK
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from ctypes import c_ulong
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

_MAXIMUM_OPEN_FILES: Final = 512
_MAXIMUM_PROBLEM_CHARACTERS: Final = 800
_GRACE_CPU_S: Final = 5
_LIBRARY_FOLDERS: Final = ("/usr", "/lib", "/lib64", "/nix/store")
_SYSTEM_FILES: Final = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/timezone",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/version",
    "/sys/devices/system",
    "/sys/fs/cgroup",
)
_BLACK_HOLE: Final = Path("/dev/null")


def main(arguments: list[str]) -> None:
    """Isolate this process, run the task, report."""
    report = int(arguments[0])
    task = json.load(sys.stdin)
    sys.path += [path for path in task["import_paths"] if path not in sys.path]
    _send(report, json.dumps(_isolate(task)))
    _send(report, _outcome(task))
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # no thread of a library keeps the process


def _outcome(task: Mapping[str, Any]) -> str:
    try:
        inputs = {name: Path(path) for name, path in task["inputs"].items()}
        answer = _function(task["program"])(task["arguments"], inputs, Path(task["output"]))
        told = {"end": "completed", "answer": {} if answer is None else dict(answer)}
        return json.dumps({**told, "peak_memory_bytes": _peak_memory_bytes()}, allow_nan=False)
    except MemoryError:
        return _ended(
            "memory_exceeded", f"it needs more than {task['limits']['memory_bytes']} bytes of memory"
        )
    except PermissionError as error:
        traceback.print_exc()
        return _ended("refused", _described(error))
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is what became of it
        traceback.print_exc()
        too_much = isinstance(error, OSError) and error.errno == errno.EFBIG
        return _ended("output_exceeded" if too_much else "raised", _described(error))


def _function(program: str) -> Callable[..., Any]:
    module, _, name = program.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _isolate(task: Mapping[str, Any]) -> dict[str, str]:
    """Limit this process, and say what is enforced and by what: as tried, not as assumed."""
    from streamrec.gates.isolation import landlock, namespaces, seccomp
    from streamrec.gates.isolation.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, process_control

    limits = task["limits"]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _MAXIMUM_OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, limits["output_bytes"])
    _limit(resource.RLIMIT_CPU, limits["cpu_s"], _GRACE_CPU_S)
    _limit(resource.RLIMIT_AS, limits["memory_bytes"])
    enforced = dict.fromkeys(("network", "files", "processes"), "not enforced")
    if namespaces.leave_the_network():
        enforced["network"] = "user and network namespaces"
    with contextlib.suppress(OSError):
        process_control(PR_SET_PDEATHSIG, c_ulong(SIGKILL))  # whoever asked is gone: so is this
        process_control(PR_SET_NO_NEW_PRIVS, c_ulong(1))
    allowed = landlock.allow_only(
        read=_readable(task),
        write=[Path(task["output"]), Path(task["home"]), _BLACK_HOLE],
        list_names=[Path(entry) for entry in sys.path],
    )
    if allowed and _refused(lambda: list(Path("/").iterdir())):
        enforced["files"] = "landlock"
    if seccomp.refuse_calls() and _refused(_fork):
        enforced["processes"] = "seccomp"
        if enforced["network"] == "not enforced" and _refused(socket.socket):
            enforced["network"] = "seccomp"
    os.chdir(task["home"])
    return {**enforced, "memory": "resource limits", "time": "resource limits"}


def _readable(task: Mapping[str, Any]) -> Iterator[Path]:
    """What the libraries need, what can be imported, and the inputs."""
    yield from map(Path, (*_LIBRARY_FOLDERS, *_SYSTEM_FILES, sys.prefix, sys.base_prefix))
    for entry in map(Path, sys.path):
        if entry.name in ("site-packages", "dist-packages") or entry.suffix == ".zip":
            yield entry
        elif entry.is_dir():
            # Of a checkout its packages alone: a workspace, with keys in it, may lie beside them.
            yield from (child for child in entry.iterdir() if _can_be_imported(child))
    yield from map(Path, task["inputs"].values())


def _can_be_imported(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _limit(what: int, limit: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(what)
    highest = limit + grace if hard == resource.RLIM_INFINITY else min(limit + grace, hard)
    resource.setrlimit(what, (min(limit, highest), highest))


def _peak_memory_bytes() -> int:
    """Largest resident memory so far; 0 where nothing says it. (``getrusage`` counts the parent's.)"""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _described(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_MAXIMUM_PROBLEM_CHARACTERS]


def _ended(end: str, problem: str) -> str:
    return json.dumps({"end": end, "problem": problem})


def _send(report: int, line: str) -> None:
    left = memoryview(f"{line}\n".encode())
    while left:
        left = left[os.write(report, left) :]


if __name__ == "__main__":
    main(sys.argv[1:])
