"""Reads an untrusted file with the library of its format, in a process that can do nothing else.

ONNX and FAISS files are read by native code. What a damaged or hostile one does to it must not reach the
process that asks: the check has a memory and a time limit, no environment, and answers yes or no. A check
that could not run to its end refuses the file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

_PROGRAM: Final = Path(__file__).with_name("checker_program.py")

_BASE_MEMORY_BYTES: Final = 1024**3
_MEMORY_BYTES_PER_BYTE: Final = 6
"""The bytes, what each of two parsers makes of them, and a copy to infer shapes from; measured: 3 to 4."""

_BASE_CPU_S: Final = 60
_CPU_BYTES_PER_S: Final = 20_000_000
"""Measured: a file of large tensors is read at about ten times this rate."""

_WALL_S_PER_CPU_S: Final = 4
"""On a machine that has other things to do."""

_MAXIMUM_ANSWER_BYTES: Final = 65_536

_ENVIRONMENT: Final = MappingProxyType({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
"""Every thread of theirs would reserve memory for itself, and there is nothing to compute."""

_EXTRAS: Final[Mapping[str, str]] = MappingProxyType({"onnx": "onnx", "faiss": "serving"})


def problem_in_own_process(kind: str, file: BinaryIO, size_bytes: int) -> str | None:
    """Return what is wrong with a file, or None.

    Args:
        kind: ``onnx`` or ``faiss``.
        file: A real file; the process reads it from its beginning.
        size_bytes: Its size, by which the limits grow.

    Raises:
        OSError: No process can be started.
    """
    cpu_s = _BASE_CPU_S + size_bytes // _CPU_BYTES_PER_S
    memory_bytes = _BASE_MEMORY_BYTES + _MEMORY_BYTES_PER_BYTE * size_bytes
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the process knows nothing of what was read ahead here
    command = [sys.executable, "-I", "-B", str(_PROGRAM), kind, str(memory_bytes), str(cpu_s)]
    with tempfile.TemporaryFile() as answer:
        try:
            ended = subprocess.run(  # noqa: S603 - our own program, and numbers
                command,
                stdin=file,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env=dict(_ENVIRONMENT),
                start_new_session=True,
                timeout=_WALL_S_PER_CPU_S * cpu_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return f"the check was stopped: it did not end within {error.timeout:g} s"
        if ended.returncode == -signal.SIGXCPU:
            return f"the check was stopped: it took more than {cpu_s} s of computing"
        if ended.returncode != 0:
            return f"the check did not come to its end (exit status {ended.returncode})"
        answer.seek(0)
        return _problem(kind, answer.read(_MAXIMUM_ANSWER_BYTES))


def _problem(kind: str, answer: bytes) -> str | None:
    try:
        document = json.loads(answer)
        if "missing" in document:
            return (
                f"cannot be checked, because the package {document['missing']} is not installed here: "
                f"install streamrec[{_EXTRAS[kind]}]"
            )
        problem = document["problem"]
    except (ValueError, KeyError, TypeError) as error:
        return f"the check gave no answer ({error})"
    return None if problem is None else str(problem)
