"""How long the gates take over the newest version of every stage of a trained workspace, and how they end:
python tests/benchmarks/benchmark_stage_gates.py [WORKSPACE [IMPORTED]]

The workspace is that of `make demo` where none is named. The versions must have been trained by this release:
older ones have no specification.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from services.recommendations.contracts.stages import MODEL_NAMES, MODEL_STAGES
from streamrec.command_line.composition import open_registry
from streamrec.command_line.judging import judge_version
from streamrec.command_line.training_data import training_data_folder
from streamrec.command_line.workspace import Workspace
from streamrec.gates.gate_results import gate_of

DEMO = Path("var/demo")


class TimedGates:
    """Prints what each gate took."""

    def __init__(self) -> None:
        self._name, self._began = "", 0.0

    def start(self, description: str, total: int) -> None:  # noqa: ARG002 - port
        self._name, self._began = description, time.perf_counter()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing is shown of a gate on its way."""

    def finish(self, note: str = "") -> None:  # noqa: ARG002 - port
        print(f"    {self._name:40} {time.perf_counter() - self._began:6.1f} s")


def main(root: Path, imported: Path | None) -> None:
    workspace, began = Workspace(root), time.perf_counter()
    registry = open_registry(workspace)
    with training_data_folder(workspace, imported=imported) as data:
        for stage in MODEL_STAGES:
            started, version = time.perf_counter(), registry.versions(MODEL_NAMES[stage])[0]
            report = judge_version(
                workspace,
                version.ref,
                TimedGates(),
                now=datetime.now(UTC),
                data=data,
                data_set=data.name,
            )
            print(f"{version.ref}: {report.verdict} in {time.perf_counter() - started:.1f} s")
            for result in report.results:
                for found in result.reasons:
                    print(f"    {gate_of(result)}: {found.code}: {found.message}")
    print(f"all stages: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO
    if root == DEMO and not DEMO.exists():
        print("left out: there are no trained stages; 'make demo' makes them")
    else:
        main(root, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
