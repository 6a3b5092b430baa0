"""The port to whatever runs a program in isolation, and what a run says about itself.

A program is ``module:function``, called as ``function(arguments, inputs, output)``: plain JSON values, paths
by name that it may read, and the folder that it may write to. It returns plain JSON values, or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.specification.operating_policy import MEBIBYTE

MAXIMUM_ANSWER_BYTES: Final = 4 * MEBIBYTE
MAXIMUM_ARGUMENT_BYTES: Final = 4 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a program may use; past any of it, it is stopped.

    Attributes:
        memory_bytes: Address space of the process.
        cpu_s: Computing time of all its threads, in seconds.
        wall_s: Time on the clock, in seconds.
        output_bytes: All files that it writes, together.
    """

    memory_bytes: int = 4 * 1024 * MEBIBYTE
    cpu_s: int = 300
    wall_s: float = 600.0
    output_bytes: int = 512 * MEBIBYTE

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "cpu_s", "wall_s", "output_bytes"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(name, "must be more than 0")


@dataclass(frozen=True, slots=True)
class GateTask:
    """One program to run.

    Attributes:
        program: ``module:function``.
        arguments: Plain JSON values.
        inputs: Files and folders that it may read, by name.
        output: An empty folder that it may write to.
        limits: What it may use.
        import_paths: Further folders in which its modules may lie.
    """

    program: str
    arguments: Mapping[str, Any]
    inputs: Mapping[str, Path]
    output: Path
    limits: SandboxLimits = SandboxLimits()
    import_paths: tuple[Path, ...] = ()


class Isolation(StrEnum):
    """By what something was kept from a program."""

    NAMESPACES = "user and network namespaces"
    SECCOMP = "seccomp"
    LANDLOCK = "landlock"
    RESOURCE_LIMITS = "resource limits"
    POD = "pod security and network policy"
    NOT_ENFORCED = "not enforced"


@dataclass(frozen=True, slots=True)
class Enforcement:
    """How isolation was enforced, as the process reported it before a line of the program ran.

    Attributes:
        network: No packet leaves, none comes in.
        files: Nothing but its inputs and its libraries is read, nothing but its output is written.
        processes: It starts no other process and signals none.
        memory, time: It is stopped past its limits.
    """

    network: Isolation = Isolation.NOT_ENFORCED
    files: Isolation = Isolation.NOT_ENFORCED
    processes: Isolation = Isolation.NOT_ENFORCED
    memory: Isolation = Isolation.NOT_ENFORCED
    time: Isolation = Isolation.NOT_ENFORCED

    @property
    def isolated(self) -> bool:
        """Whether the program was without network and within its limits: what a verdict asks for."""
        return Isolation.NOT_ENFORCED not in (self.network, self.memory, self.time)

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return {
            "network": self.network.value,
            "files": self.files.value,
            "processes": self.processes.value,
            "memory": self.memory.value,
            "time": self.time.value,
        }

    @classmethod
    def weakest(cls, *enforcements: Enforcement) -> Enforcement:
        """What holds for all of several runs; nothing where there was none."""

        def least(name: str) -> Isolation:
            found: list[Isolation] = [getattr(enforcement, name) for enforcement in enforcements]
            if not found or Isolation.NOT_ENFORCED in found:
                return Isolation.NOT_ENFORCED
            return max(found, key=lambda isolation: list(Isolation).index(isolation))

        return cls(*(least(name) for name in ("network", "files", "processes", "memory", "time")))


class TaskEnd(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    RAISED = "raised"
    """The program raised an error."""
    MEMORY_EXCEEDED = "memory_exceeded"
    TIME_EXCEEDED = "time_exceeded"
    OUTPUT_EXCEEDED = "output_exceeded"
    REFUSED = "refused"
    """It tried something that is kept from it, such as the network or another process."""
    KILLED = "killed"
    """A signal ended it: a crash of native code, or somebody outside."""


@dataclass(frozen=True, slots=True)
class GateTaskResult:
    """What became of a run.

    Attributes:
        end: How it ended.
        answer: What the program returned; empty unless it completed.
        problem: In one line, what went wrong; empty where it completed.
        log: The end of what it printed, for people.
        wall_s, cpu_s: What it took, in seconds.
        peak_memory_bytes: Largest resident memory.
        enforcement: How isolation was enforced.
    """

    end: TaskEnd
    answer: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    problem: str = ""
    log: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    enforcement: Enforcement = Enforcement()

    @property
    def completed(self) -> bool:
        """Whether the program came to its end."""
        return self.end is TaskEnd.COMPLETED


class GateRunner(Protocol):
    """Runs programs that are not trusted."""

    def run(self, task: GateTask) -> GateTaskResult:
        """Run a program to its end, or to the first limit that it passes.

        Raises:
            InvalidInputError: The task is not one: no ``module:function``, arguments that are not JSON, an
                input that does not exist, an output folder that is not empty.
            TemporaryError: Nothing could be started.
        """
        ...
