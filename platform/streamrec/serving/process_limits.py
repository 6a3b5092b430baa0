"""What a process may take at most, so that one that eats memory dies alone."""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Final

_LOG = logging.getLogger(__name__)

_STATUS: Final = Path("/proc/self/status")
_FIELD: Final = "VmData:"
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
_ENDED_FIRST: Final = "1000"
_BYTES_PER_KILOBYTE: Final = 1024


def limit_memory(more_bytes: int) -> bool:
    """Let this process allocate so much more than it has now, and nothing beyond.

    What is limited is private writable memory (RLIMIT_DATA, since Linux 4.7 with what is mapped), and not the
    address space, of which libraries reserve many times what they use. Beyond the limit an allocation fails:
    a `MemoryError` in Python, the end of the process in code that does not expect it.

    Args:
        more_bytes: Beyond what the process has.

    Returns:
        Whether the system enforces it; where it does not, the reason is logged.
    """
    now_bytes = _data_bytes()
    if now_bytes is None:
        _LOG.warning("memory is not limited: this system does not say what a process has")
        return False
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = now_bytes + more_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    except (OSError, ValueError) as error:
        _LOG.warning("memory is not limited: %s", error)
        return False
    return True


def be_ended_first() -> bool:
    """Have the system end this process before others where the machine runs out of memory.

    Returns:
        Whether the system takes note of it.
    """
    try:
        _OOM_SCORE.write_text(_ENDED_FIRST)
    except OSError as error:
        _LOG.warning("this process is not the first to be ended for want of memory: %s", error)
        return False
    return True


def _data_bytes() -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(_FIELD):
            return int(line.split()[1]) * _BYTES_PER_KILOBYTE
    return None
