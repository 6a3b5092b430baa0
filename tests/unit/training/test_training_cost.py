from __future__ import annotations

import time

import numpy as np
import pytest

from streamrec.training import training_cost
from streamrec.training.training_cost import measured


def test_the_cost_is_that_of_the_work():
    def work():
        deadline = time.process_time() + 0.1
        while time.process_time() < deadline:
            pass
        return "done"

    result, cost = measured(work, interactions=7)
    assert result == "done"
    assert 0.07 <= cost.cpu_s < 0.5  # ticks of 0.01 s
    assert cost.wall_s >= 0.07
    assert cost.interactions == 7


def test_the_peak_is_that_of_the_work_and_not_of_earlier_work():
    def hold(mebibytes):
        return measured(lambda: float(np.ones(mebibytes * 131_072).sum()), 1)[1]

    large, small = hold(160), hold(1)
    if large.peak_since_start:
        pytest.skip("this system cannot reset the peak of resident memory")
    assert large.peak_memory_bytes - small.peak_memory_bytes > 100 * 1024**2


def test_where_the_peak_cannot_be_reset_the_cost_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(training_cost, "_RESET_FILE", tmp_path / "missing" / "clear_refs")
    _, cost = measured(lambda: None, interactions=1)
    assert cost.peak_since_start
    assert cost.peak_memory_bytes > 1024**2


def test_a_failure_of_the_work_is_raised():
    with pytest.raises(ZeroDivisionError):
        measured(lambda: 1 / 0, interactions=1)
