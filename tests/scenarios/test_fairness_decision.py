"""The bars of the fairness decision over the whole grid: base rates, groups, metrics, tolerances, sizes."""

from __future__ import annotations

import numpy as np

from tests.fairness_cells import bounds_99, cells, missed_bars

RUNS = 2_000


def test_bars_hold_in_every_cell():
    rng = np.random.default_rng(2_026)
    grid = list(
        cells((0.05, 0.1, 0.2, 0.35, 0.5), (2, 3, 4, 6), (1, 2, 4), (0.05, 0.1, 0.2), unequal=(1, 3, 20))
    )
    missed = []
    for cell in grid:
        passed, _ = cell.verdicts(cell.tolerance, rng, RUNS)
        _, wrongly = cell.verdicts(0.0, rng, RUNS)
        _, found = cell.verdicts(1.5 * cell.tolerance, rng, RUNS)
        rates = " ".join(
            f"{name} {hits / RUNS:.4f} ({bounds_99(hits, RUNS)[0]:.4f} to {bounds_99(hits, RUNS)[1]:.4f})"
            for name, hits in (
                ("passed at the tolerance", passed),
                ("failed at none", wrongly),
                ("failed at 1.5", found),
            )
        )
        print(cell, rates)
        missed += missed_bars(cell, rng, RUNS)
    # Each bound is beyond its bar by chance in 1 % of the looks: five a cell at most.
    assert len(missed) <= 0.02 * len(grid), "\n".join(missed)
