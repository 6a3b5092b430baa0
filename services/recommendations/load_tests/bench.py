"""The whole load test: every system at every rate, in rounds, so that what drifts drifts for all alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

from services.recommendations.load_tests.capacity import CapacityLimits, find_capacity
from services.recommendations.load_tests.processes import GATEWAY, STAGES
from services.recommendations.load_tests.results import Measured, Row, machine
from services.recommendations.load_tests.running_system import RunningSystem, running_system
from services.recommendations.load_tests.schedule import LoadSettings
from services.recommendations.load_tests.systems import System
from services.recommendations.load_tests.workspace import MadeWorkspace
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.progress import Progress

CAPACITY_FIRST_RPS: Final = 40.0
MAXIMUM_GATEWAYS: Final = 16
_MEBIBYTE: Final = 1 << 20
_ATTEMPTS: Final = 2
_USUAL_STEPS: Final = 10
"""Loads of a search for capacity; how many it takes nobody knows before."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured.

    Attributes:
        systems: One runs at a time.
        rates_rps: Each system is put under each, from the lowest.
        rounds: How often; in each round the systems take turns in another order.
        load: Its rate and seed are replaced.
        gateways: How many, where a system has any; 0: as the service has it.
        capacity: Whether the sustained throughput of each system is searched for, in one more round.
        limits: What counts as sustained.
    """

    systems: Sequence[System]
    rates_rps: Sequence[float]
    rounds: int = 3
    load: LoadSettings = field(default_factory=lambda: LoadSettings(rps=60.0))
    gateways: int = 0
    capacity: bool = False
    limits: CapacityLimits = field(default_factory=CapacityLimits)

    def __post_init__(self) -> None:
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise InvalidInputError("systems", "name at least one, and none twice")
        if not self.rates_rps and not self.capacity:
            raise InvalidInputError("rps", "name at least one rate")
        if not 1 <= self.rounds <= 100:
            raise InvalidInputError("rounds", "must be in 1..100")
        if not 0 <= self.gateways <= MAXIMUM_GATEWAYS:
            raise InvalidInputError("gateways", f"must be in 0..{MAXIMUM_GATEWAYS}")

    def order(self, number: int) -> tuple[System, ...]:
        """The systems in the order of a round, ``number`` from 0: each is the first one once in a while."""
        first = number % len(self.systems)
        return (*self.systems[first:], *self.systems[:first])

    def loads(self, number: int) -> list[LoadSettings]:
        """The loads of a round: every system gets the same requests at the same times."""
        return [
            replace(self.load, rps=rps, seed=self.load.seed + 1000 * number + place)
            for place, rps in enumerate(sorted(self.rates_rps))
        ]


@dataclass
class BenchReport:
    """What was found for one size of the catalogue.

    Attributes:
        items: Of the catalogue.
        loads: By system and offered rate, all rounds together.
        capacity_rps: By system: the sustained throughput, where it was searched for.
        ready_s: By system: times from start to readiness.
        memory_mib: By system and kind of process, at the end of the last round.
        machine: What it was taken on.
    """

    items: int
    loads: dict[System, dict[float, Measured]] = field(default_factory=dict)
    capacity_rps: dict[System, float] = field(default_factory=dict)
    ready_s: dict[System, list[float]] = field(default_factory=dict)
    memory_mib: dict[System, Mapping[str, float]] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=machine)

    def add(self, system: System, rps: float, measured: Measured) -> None:
        """Join a load to those of the same system and rate."""
        by_rate = self.loads.setdefault(system, {})
        before = [by_rate[rps]] if rps in by_rate else []
        by_rate[rps] = Measured.together([*before, measured])

    def rows(self) -> list[Row]:
        """One for each system and rate, in the order measured."""
        return [
            measured.row(system, self.items, rps)
            for system, by_rate in self.loads.items()
            for rps, measured in sorted(by_rate.items())
        ]

    def stages(self) -> dict[str, dict[str, float]]:
        """See `results`: by stage, and by system and stage, at the lowest rate."""
        of_system = {system: by_rate[min(by_rate)].stages() for system, by_rate in self.loads.items()}
        found = dict(of_system.get(System.MONOLITH) or of_system.get(System.TOGETHER) or {})
        for system, stages in of_system.items():
            found |= {f"{system}.{stage}": figures for stage, figures in stages.items()}
        return found

    def details(self) -> dict[str, Any]:
        """What the rows do not say, as plain JSON values."""
        return {
            "items": self.items,
            "capacity_rps": {str(system): rps for system, rps in self.capacity_rps.items()},
            "ready_s": {str(system): times for system, times in self.ready_s.items()},
            "memory_mib": {str(system): dict(memory) for system, memory in self.memory_mib.items()},
            "replica_bytes_per_item": {
                str(system): round((memory[GATEWAY] + memory[STAGES]) * _MEBIBYTE / self.items, 1)
                for system, memory in self.memory_mib.items()
            },
            "loads": {
                str(system): {f"{rps:g}": measured.details() for rps, measured in by_rate.items()}
                for system, by_rate in self.loads.items()
            },
        }


@dataclass(frozen=True, slots=True)
class GrowthStep:
    """One system at one size of the catalogue, beside the size before.

    Attributes:
        system: Which.
        items: Of the catalogue.
        p50_ms, p99_ms: At the highest rate measured.
        p99_ratio: To that of the size before; None for the first one.
        memory_mib: Of the replicas, gateway and stages.
        bytes_per_item: Of that memory for each item that came on top; None for the first size.
    """

    system: System
    items: int
    p50_ms: float | None
    p99_ms: float | None
    p99_ratio: float | None
    memory_mib: float
    bytes_per_item: float | None


def growth_steps(reports: Sequence[BenchReport]) -> list[GrowthStep]:
    """How systems take a growing catalogue: by system, the sizes in the order measured."""
    steps = []
    for system in reports[0].memory_mib:
        before: GrowthStep | None = None
        for report in reports:
            loads, memory = report.loads[system], report.memory_mib[system]
            measured = loads[max(loads)]
            p99_ms, memory_mib = measured.percentile_ms(99.0), memory[GATEWAY] + memory[STAGES]
            ratio = added = None
            if before is not None:
                added = (memory_mib - before.memory_mib) * _MEBIBYTE / (report.items - before.items)
                ratio = p99_ms / before.p99_ms if p99_ms and before.p99_ms else None
            before = GrowthStep(
                system, report.items, measured.percentile_ms(50.0), p99_ms, ratio, memory_mib, added
            )
            steps.append(before)
    return steps


def document_of(reports: Sequence[BenchReport]) -> dict[str, Any]:
    """The JSON file: see `results`. Stages are those of the last report, machine that of the first."""
    return {
        "rows": [row.to_json() for report in reports for row in report.rows()],
        "stages": reports[-1].stages(),
        "machine": dict(reports[0].machine),
    }


def run_bench(
    settings: BenchSettings,
    made: MadeWorkspace,
    folder: Path,
    progress: Progress,
) -> BenchReport:
    """Measure.

    Args:
        settings: What.
        made: On which workspace.
        folder: Gets the logs of the systems, and after each of them `details.json`.
        progress: Shows the loads.

    Raises:
        DependencyError: A system did not become ready, or the generator failed.
    """
    report = BenchReport(made.settings.item_count)
    settings = replace(settings, load=replace(settings.load, user_count=made.settings.user_count))
    rounds = range(settings.rounds if settings.rates_rps else 0)
    if rounds:
        progress.start("load test", len(rounds) * len(settings.systems) * len(settings.rates_rps))
    for number in rounds:
        for system in settings.order(number):
            with running_system(system, made, folder / f"{system}.log", settings.gateways) as running:
                report.ready_s.setdefault(system, []).append(round(running.ready_s, 2))
                for load in settings.loads(number):
                    measured = running.measure(load)
                    report.add(system, load.rps, measured)
                    progress.advance(note=_note(system, load.rps, measured))
                report.memory_mib[system] = running.memory_mib()
            _write_details(report, folder)
    progress.finish()
    if settings.capacity:
        for system in settings.systems:
            with running_system(system, made, folder / f"{system}.log", settings.gateways) as running:
                report.capacity_rps[system] = search_capacity(running, settings, report, progress)
            _write_details(report, folder)
    return report


def search_capacity(
    running: RunningSystem, settings: BenchSettings, report: BenchReport, progress: Progress
) -> float:
    """Search for what a system sustains; the load at the rate found is joined to the report.

    A rate is too much only where it was so twice: one slow moment of the machine decides nothing.
    """
    passed: dict[float, Measured] = {}
    seeds = count(settings.load.seed)

    def sustains(rps: float) -> bool:
        for _ in range(_ATTEMPTS):
            measured = running.measure(replace(settings.load, rps=rps, seed=next(seeds)))
            within = settings.limits.hold(measured)
            note = _note(running.system, rps, measured)
            progress.advance(note=f"{note}: {'sustained' if within else 'too much'}")
            if within:
                passed[rps] = measured
                return True
        return False

    progress.start(f"sustained throughput of {running.system}", _USUAL_STEPS)
    found = find_capacity(sustains, CAPACITY_FIRST_RPS)
    progress.finish(note=f"{found:.1f} rps")
    if found in passed:
        report.add(running.system, round(found, 1), passed[found])
    return round(found, 1)


def _note(system: System, rps: float, measured: Measured) -> str:
    p50, p99 = (measured.percentile_ms(percent) for percent in (50.0, 99.0))
    times = "no answer" if p50 is None else f"p50 {p50:.1f}, p99 {p99:.1f} ms"
    return (
        f"{system} at {rps:.1f} rps: {times}, {measured.errors} errors, "
        f"{measured.degraded_share:.1%} degraded"
    )


def _write_details(report: BenchReport, folder: Path) -> None:
    (folder / "details.json").write_text(json.dumps(report.details(), indent=2, allow_nan=False) + "\n")
