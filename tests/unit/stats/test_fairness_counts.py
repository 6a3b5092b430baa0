"""Counts of groups: against a plain loop, and added up."""

from __future__ import annotations

import numpy as np
import pytest

from streamrec.stats.fairness_counts import RATES, GroupCounts, count_groups


def made_rows(rows=500):
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 3, rows)
    labels = rng.integers(0, 2, rows).astype(float)
    return codes, labels, rng.uniform(size=rows)


def test_rates_are_those_of_a_plain_loop():
    codes, labels, scores = made_rows()
    for group, counts in enumerate(count_groups(codes, labels, scores, 0.4, 3)):
        cells = {(label, yes): 0 for label in (0.0, 1.0) for yes in (False, True)}
        gaps = []
        for code, label, score in zip(codes, labels, scores, strict=True):
            if code == group:
                cells[label, bool(score >= 0.4)] += 1
                gaps.append(label - score)
        rows = sum(cells.values())
        expected = {
            "selection_rate": (cells[1.0, True] + cells[0.0, True]) / rows,
            "tpr": cells[1.0, True] / (cells[1.0, True] + cells[1.0, False]),
            "fpr": cells[0.0, True] / (cells[0.0, True] + cells[0.0, False]),
            "fnr": cells[1.0, False] / (cells[1.0, True] + cells[1.0, False]),
        }
        for name in RATES:
            assert counts.rate(name).value == pytest.approx(expected[name], abs=1e-12)
        assert counts.rows == rows
        assert counts.mean_gap == pytest.approx(np.mean(gaps), abs=1e-12)
        assert counts.gap_deviation == pytest.approx(np.std(gaps, ddof=1), abs=1e-12)
        assert counts.gap_third_moment == pytest.approx(
            ((np.array(gaps) - np.mean(gaps)) ** 3).mean(), abs=1e-12
        )


def test_counts_of_parts_add_up_to_those_of_the_whole():
    codes, labels, scores = made_rows()
    whole = count_groups(codes, labels, scores, 0.5, 3)
    parts = [
        count_groups(codes[part], labels[part], scores[part], 0.5, 3)
        for part in np.array_split(range(500), 7)
    ]
    for group, counts in enumerate(whole):
        total = sum((part[group] for part in parts), GroupCounts())
        assert total.gap == pytest.approx(counts.gap)
        assert total.cubed_gap == pytest.approx(counts.cubed_gap)
        assert (total.rows, total.selected, total.true_positives) == (
            counts.rows,
            counts.selected,
            counts.true_positives,
        )


def test_a_rate_over_nothing_is_no_number():
    nobody = GroupCounts(rows=10, positives=0, selected=3)
    assert nobody.rate("tpr").value is None
    assert nobody.rate("tpr").interval(0.95) is None
    assert nobody.rate("fpr").value == 0.3
