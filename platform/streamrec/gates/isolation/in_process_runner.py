"""The runner without a process of its own, for tests whose programs are trusted. It isolates nothing."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from streamrec.contracts.canonical_json import canonical_json, parse_json
from streamrec.gates.isolation.subprocess_runner import check_task
from streamrec.gates.runner import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_ARGUMENT_BYTES,
    Enforcement,
    GateTask,
    GateTaskResult,
    TaskEnd,
)


class InProcessRunner:
    """Implements `GateRunner`, and says honestly that nothing was enforced, unless a test says otherwise."""

    def __init__(self, enforcement: Enforcement | None = None) -> None:
        self._enforcement = enforcement or Enforcement()

    def run(self, task: GateTask) -> GateTaskResult:
        """Run a program here; see `GateRunner.run`. Limits and ``import_paths`` are not looked at."""
        check_task(task)
        arguments = parse_json(canonical_json(task.arguments), maximum_bytes=MAXIMUM_ARGUMENT_BYTES)
        began = time.perf_counter()
        end, problem, answer = _outcome(task, arguments)
        return GateTaskResult(
            end=end,
            answer=MappingProxyType(answer),
            problem=problem,
            wall_s=time.perf_counter() - began,
            enforcement=self._enforcement,
        )


def _outcome(task: GateTask, arguments: Mapping[str, Any]) -> tuple[TaskEnd, str, dict[str, Any]]:
    module, _, name = task.program.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        answer = function(arguments, dict(task.inputs), task.output)
        text = json.dumps({} if answer is None else dict(answer), allow_nan=False)
        return TaskEnd.COMPLETED, "", parse_json(text.encode(), maximum_bytes=MAXIMUM_ANSWER_BYTES)
    except MemoryError as error:
        return TaskEnd.MEMORY_EXCEEDED, str(error) or "it needs more memory", {}
    except PermissionError as error:
        return TaskEnd.REFUSED, f"PermissionError: {error}", {}
    except Exception as error:  # noqa: BLE001 - whatever a program raises is what became of it
        return TaskEnd.RAISED, f"{type(error).__name__}: {error}", {}
