"""Runs a program in a process of its own on this machine, isolated without root as far as it can be."""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import InvalidInputError, TemporaryError
from streamrec.contracts.specification.fields import FUNCTION_PATTERN
from streamrec.gates.runner import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_ARGUMENT_BYTES,
    Enforcement,
    GateTask,
    GateTaskResult,
    Isolation,
    TaskEnd,
)

_PROGRAM: Final = Path(__file__).with_name("sandbox_program.py")
_PLATFORM: Final = Path(__file__).parents[3]

_POLL_S: Final = 0.02
_SIZE_POLL_S: Final = 0.1
_MAXIMUM_FILES: Final = 10_000
_KEPT_LOG_BYTES: Final = 16_384
_CHUNK_BYTES: Final = 65_536
_FUNCTION: Final = re.compile(FUNCTION_PATTERN)

_ENVIRONMENT: Final = MappingProxyType(
    {
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # One thread each: the same sums in the same order at every run, and no memory for idle threads.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMEXPR_NUM_THREADS": "1",
        # Arrow's own allocator reserves more addresses than a program may have.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
    }
)
"""All that a program finds in its environment, besides the folder that is its home."""


@dataclass
class _Heard:
    """What came out of the process so far."""

    report: bytearray = field(default_factory=bytearray)
    log: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes, *, to_report: bool) -> None:
        if to_report:
            self.report += chunk[: max(0, MAXIMUM_ANSWER_BYTES + _CHUNK_BYTES - len(self.report))]
        else:
            self.log += chunk
            del self.log[:-_KEPT_LOG_BYTES]


class SubprocessRunner:
    """Implements `GateRunner`. Stateless; safe to use from several threads."""

    def run(self, task: GateTask) -> GateTaskResult:
        """Run a program to its end, or to the first limit that it passes; see `GateRunner.run`."""
        check_task(task)
        with tempfile.TemporaryDirectory(prefix="streamrec-gate-") as home:
            return self._run(task, Path(home))

    def _run(self, task: GateTask, home: Path) -> GateTaskResult:
        document = {
            "program": task.program,
            "arguments": dict(task.arguments),
            "inputs": {name: str(path.resolve()) for name, path in task.inputs.items()},
            "output": str(task.output.resolve()),
            "home": str(home),
            "limits": asdict(task.limits),
            "import_paths": [str(path.resolve()) for path in (_PLATFORM, *task.import_paths)],
        }
        (home / "task.json").write_bytes(canonical_json(document))
        reading, writing = os.pipe()
        began = time.monotonic()
        try:
            with (home / "task.json").open("rb") as standard_input:
                process = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-I", "-B", str(_PROGRAM), str(writing)],
                    stdin=standard_input,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env={**_ENVIRONMENT, "HOME": str(home), "TMPDIR": str(home)},
                    cwd=home,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
        except OSError as error:
            os.close(reading)
            raise TemporaryError(f"no process can be started to run {task.program}: {error}") from error
        finally:
            os.close(writing)
        try:
            return _watch(process, reading, task, began)
        finally:
            os.close(reading)


def check_task(task: GateTask) -> None:
    """Check that a task can be run.

    Raises:
        InvalidInputError: As `GateRunner.run` says.
    """
    if not _FUNCTION.fullmatch(task.program):
        raise InvalidInputError("program", f"{task.program!r} must be module:function")
    if len(canonical_json(task.arguments)) > MAXIMUM_ARGUMENT_BYTES:
        raise InvalidInputError(
            "arguments", f"must be at most {MAXIMUM_ARGUMENT_BYTES} bytes; use an input file"
        )
    for name, path in task.inputs.items():
        if not path.exists():
            raise InvalidInputError(f"inputs.{name}", f"{path} does not exist")
    if not task.output.is_dir() or any(task.output.iterdir()):
        raise InvalidInputError("output", f"{task.output} must be an empty folder")


def _watch(process: subprocess.Popen[bytes], reading: int, task: GateTask, began: float) -> GateTaskResult:
    """Listen until the process has ended, and end it where it passes a limit."""
    heard, stopped, peak = _Heard(), None, 0
    sizes_at = began
    log = process.stdout
    if log is None:
        raise TemporaryError(f"{task.program}: the process has no output to listen to")
    with selectors.DefaultSelector() as selector, log:
        for descriptor in (reading, log.fileno()):
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ)
        try:
            while True:
                _listen(selector, reading, heard)
                peak = max(peak, _peak_memory_bytes(process.pid))
                ended, status, used = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    break
                now = time.monotonic()
                if stopped is None and now - began > task.limits.wall_s:
                    stopped = (TaskEnd.TIME_EXCEEDED, f"it did not end within {task.limits.wall_s:g} s")
                if stopped is None and now - sizes_at > _SIZE_POLL_S:
                    sizes_at = now
                    stopped = _too_much(task)
                if stopped is not None:
                    _kill(process.pid)
        except BaseException:
            _kill(process.pid)
            process.wait()
            raise
        _kill(process.pid)  # whatever it left behind, where it could start processes
        process.returncode = os.waitstatus_to_exitcode(status)
        _listen(selector, reading, heard, until_empty=True)
    stopped = stopped or _too_much(task)
    return _result(task, process.returncode, heard, stopped, used, peak, time.monotonic() - began)


def _listen(
    selector: selectors.BaseSelector, reading: int, heard: _Heard, *, until_empty: bool = False
) -> None:
    """Take what is there; wait a moment where nothing is."""
    while events := selector.select(0.0 if until_empty else _POLL_S):
        for key, _ in events:
            chunk = os.read(key.fd, _CHUNK_BYTES)
            if chunk:
                heard.add(chunk, to_report=key.fd == reading)
            else:
                selector.unregister(key.fd)
        if not until_empty or not selector.get_map():
            return


def _too_much(task: GateTask) -> tuple[TaskEnd, str] | None:
    """Whether the program has written more than it may."""
    total = files = 0
    for folder, _, names in os.walk(task.output):
        for name in names:
            files += 1
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - many times a second
            except FileNotFoundError:
                continue
    if total > task.limits.output_bytes or files > _MAXIMUM_FILES:
        return (
            TaskEnd.OUTPUT_EXCEEDED,
            f"it wrote {total} bytes in {files} files; it may write {task.limits.output_bytes} bytes",
        )
    return None


def _kill(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _peak_memory_bytes(process: int) -> int:
    """Largest resident memory so far, as the kernel has it; 0 where the process is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _result(
    task: GateTask,
    status: int,
    heard: _Heard,
    stopped: tuple[TaskEnd, str] | None,
    used: resource.struct_rusage,
    peak: int,
    wall_s: float,
) -> GateTaskResult:
    first, _, rest = bytes(heard.report).partition(b"\n")
    told = _told(rest)
    if stopped is not None:
        end, problem = stopped
    elif status == -signal.SIGXCPU or (status == -signal.SIGKILL and used.ru_utime >= task.limits.cpu_s):
        end, problem = TaskEnd.TIME_EXCEEDED, f"it took more than {task.limits.cpu_s} s of computing"
    elif status == 0 and told:
        end, problem = TaskEnd(told["end"]), str(told.get("problem", ""))
    elif status < 0:
        name = signal.Signals(-status).name
        end, problem = (
            TaskEnd.KILLED,
            f"the signal {name} ended it, as when native code crashes or has no memory",
        )
    else:
        end, problem = TaskEnd.RAISED, f"it ended with the status {status} before it gave an answer"
    answer = told.get("answer", {}) if end is TaskEnd.COMPLETED else {}
    return GateTaskResult(
        end=end,
        answer=MappingProxyType(answer),
        problem=problem,
        log=heard.log.decode("utf-8", "replace"),
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_memory_bytes=max(peak, int(told.get("peak_memory_bytes", 0))),
        enforcement=_enforcement(first),
    )


def _told(report: bytes) -> Mapping[str, Any]:
    """The last line of a whole report. The program shares the process that writes it: nothing is trusted."""
    if not report.endswith(b"\n"):
        return {}
    try:
        document = json.loads(report)
        canonical_json(document.get("answer", {}))
        TaskEnd(document["end"])
        int(document.get("peak_memory_bytes", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidInputError):
        return {}
    return MappingProxyType(document)


def _enforcement(line: bytes) -> Enforcement:
    """What the process said before anything of the program ran; without it nothing was enforced."""
    try:
        document = json.loads(line)
        return Enforcement(**{name: Isolation(value) for name, value in document.items()})
    except (ValueError, TypeError, AttributeError):
        return Enforcement()
