"""The bars that the models are held to, each beside the figure that was measured.

A bar is met when the figure itself reaches it; the interval beside the figure says how sure that is. A bar
whose figure was not measured is neither met nor missed, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.recommendations.evaluation.exposure_frontier import ExposureFrontier
from services.recommendations.evaluation.sections import EvaluationSections
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.training.evaluation import ModelEvaluation

BASELINE_GAIN: Final = 0.10
STUDENT_NDCG_SHARE: Final = 0.98
STUDENT_TIME_SHARE: Final = 0.25
STUDENT_MEDIAN_MS: Final = 3.0
COLD_START_GAIN: Final = 0.15
COVERAGE_NOMINAL: Final = 0.90
COVERAGE_RANGE: Final = (0.87, 0.93)
LANGUAGE_GINI: Final = 0.30
LANGUAGE_GINI_TODAY: Final = 0.48
COMPARABLE_GINI: Final = 0.65
"""The Gini bar is for traffic like StreamRec's, about 0.48 in relevance order. Where nearly everything is in
one language, as among the films of MovieLens, no order of the catalogue reaches it."""
RELEVANCE_LOSS: Final = 0.02
RERANKING_P99_MS: Final = 1.0
INDEX_RECALL: Final = 0.99
INDEX_TIME_SHARE: Final = 1.0 / 3.0
INDEX_ITEMS: Final = 200_000
"""Catalogue size that the index bars are for."""

MILLION_GOAL: Final = 0.1857
MILLION_FLOOR: Final = 0.175
MILLION_INTERACTIONS: Final = (900_000, 1_100_000)
MILLION_ITEMS: Final = (3_000, 4_000)
"""The published ranking figures are for data of MovieLens-1M's size and for no other."""

_NDCG: Final = "ndcg@10"


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: Which.
        group: Section of the table it belongs to.
        requirement: In words, with the number.
        figure: What was measured; None where it was not.
        interval: Of the figure, where it has one.
        met: Whether the figure reaches the bar; None where it was not measured.
        note: Why it was not measured, or what else must be said.
        applies: Whether the bar is for data like this at all: only then does it count that it was not
            measured.
    """

    name: str
    group: str
    requirement: str
    figure: float | None
    interval: Interval | None
    met: bool | None
    note: str = ""
    applies: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "group": self.group,
            "requirement": self.requirement,
            "figure": self.figure,
            "interval": interval_json(self.interval),
            "met": self.met,
            "note": self.note,
            "applies": self.applies,
        }


@dataclass(frozen=True)
class DataSize:
    """What was evaluated on: some bars are for some sizes of data only."""

    items: int
    interactions: int

    @property
    def like_movielens_1m(self) -> bool:
        """Whether the published figures for MovieLens-1M are comparable."""
        return (
            MILLION_INTERACTIONS[0] <= self.interactions <= MILLION_INTERACTIONS[1]
            and MILLION_ITEMS[0] <= self.items <= MILLION_ITEMS[1]
        )


def measure_bars(
    evaluations: Mapping[str, ModelEvaluation],
    sections: EvaluationSections,
    size: DataSize,
    *,
    baselines: tuple[str, ...],
) -> tuple[Bar, ...]:
    """Compare what was measured with the bars; bars of models that were not evaluated are left out."""
    return (
        *_retrieval(evaluations),
        *_teacher(evaluations, size, baselines),
        *_student(sections),
        *_cold_start(sections),
        *_reranking(sections),
        *_index(sections),
    )


def _retrieval(evaluations: Mapping[str, ModelEvaluation]) -> Iterator[Bar]:
    tower = evaluations.get("two_tower")
    for metric, baseline in (("recall@500", "ease"), ("hit@10", "itemknn")):
        other = evaluations.get(baseline)
        if tower is not None and other is not None:
            least = other.metrics[metric].value
            yield _bar(
                f"{metric} against {baseline}",
                "retrieval",
                f"at least {least:.4f}",
                tower.metrics[metric],
                least=least,
            )


def _teacher(
    evaluations: Mapping[str, ModelEvaluation], size: DataSize, baselines: tuple[str, ...]
) -> Iterator[Bar]:
    ranker = evaluations.get("ranker")
    if ranker is None:
        return
    ndcg = ranker.metrics[_NDCG]
    measured = [name for name in baselines if name in evaluations]
    if measured:
        best = max(measured, key=lambda name: evaluations[name].metrics[_NDCG].value)
        other = evaluations[best].metrics[_NDCG]
        least = (1.0 + BASELINE_GAIN) * other.value
        yield _bar(
            f"NDCG@10 against the best baseline, {best}",
            "ranking",
            f"at least {least:.4f}, apart",
            ndcg,
            least=least,
            also=ndcg.low > other.high,
            note="" if ndcg.low > other.high else f"the intervals overlap: {best} reaches {other.high:.4f}",
        )
    if size.like_movielens_1m:
        for name, least in (("goal", MILLION_GOAL), ("floor", MILLION_FLOOR)):
            yield _bar(
                f"NDCG@10 at MovieLens-1M's size, {name}",
                "ranking",
                f"at least {least:.4f}",
                ndcg,
                least=least,
            )


def _student(sections: EvaluationSections) -> Iterator[Bar]:
    student = sections.student
    if student is None:
        return
    yield _bar(
        "share of the teacher's NDCG@10",
        "student",
        f"at least {STUDENT_NDCG_SHARE:.2f}",
        student.ndcg_share,
        least=STUDENT_NDCG_SHARE,
        unmeasured="the teacher finds too few items for a ratio",
    )
    yield _plain_bar(
        "share of the teacher's median time",
        "student",
        f"at most {STUDENT_TIME_SHARE:.2f}",
        student.time_share,
        student.time_share <= STUDENT_TIME_SHARE,
    )
    yield _plain_bar(
        "median for 500 candidates, ms",
        "student",
        f"at most {STUDENT_MEDIAN_MS:g} ms",
        student.student.median_ms,
        student.student.median_ms <= STUDENT_MEDIAN_MS,
    )


def _cold_start(sections: EvaluationSections) -> Iterator[Bar]:
    if sections.cold_start is not None:
        yield _bar(
            "gain of 0 to 5 known over popularity per segment",
            "cold start",
            f"at least {COLD_START_GAIN:+.0%}",
            sections.cold_start.overall.gain,
            least=COLD_START_GAIN,
            unmeasured="popularity finds too few items for a ratio",
        )
    at_nominal = [point for point in sections.coverage if abs(point.nominal - COVERAGE_NOMINAL) < 1e-9]
    for point in at_nominal:
        low, high = COVERAGE_RANGE
        yield _bar(
            f"coverage of {COVERAGE_NOMINAL:.0%} intervals",
            "cold start",
            f"{low:.2f} to {high:.2f}",
            point.empirical,
            least=low,
            most=high,
        )


def _reranking(sections: EvaluationSections) -> Iterator[Bar]:
    slates = sections.slates
    if slates is not None:
        before, after = slates.traffic.before.language_gini, slates.traffic.after.language_gini
        name, requirement = "creator-language exposure Gini", f"at most {LANGUAGE_GINI:.2f}"
        if before is not None and after is not None and before.value > COMPARABLE_GINI:
            note = (
                f"for traffic whose Gini is about {LANGUAGE_GINI_TODAY}; in relevance order it is "
                f"{before.value:.2f} here"
            )
            yield Bar(name, "re-ranking", requirement, after.value, after, None, note, applies=False)
        elif after is None:
            note = "fewer than two creator languages are known"
            yield Bar(name, "re-ranking", requirement, None, None, None, note, applies=False)
        else:
            yield _bar(
                name,
                "re-ranking",
                requirement,
                after,
                most=LANGUAGE_GINI,
                note=_lowest_gini(sections.frontier),
            )
        yield _bar(
            "share of NDCG@10 lost by re-ranking",
            "re-ranking",
            f"at most {RELEVANCE_LOSS:.2f}",
            slates.traffic.ndcg_loss,
            most=RELEVANCE_LOSS,
            unmeasured="too few held-out items are found for a ratio",
        )
    frontier = None if sections.frontier is None else sections.frontier.frontier
    if frontier is not None and frontier.advantages:
        least = min(frontier.advantages, key=lambda advantage: advantage.held_out_ndcg.value)
        expected = min(advantage.expected_ndcg.value for advantage in frontier.advantages)
        yield _bar(
            "NDCG@10 above greedy MMR at equal Gini, least",
            "re-ranking",
            "above 0 at every weight",
            least.held_out_ndcg,
            also=least.held_out_ndcg.value > 0.0,
            note=f"at the Gini {least.gini:.2f}, of {len(frontier.advantages)} weights; least in calibrated "
            f"relevance {expected:+.4f}",
        )
    if sections.reranking_latency is not None:
        p99_ms = sections.reranking_latency.p99_ms
        yield _plain_bar(
            "99th percentile for 500 candidates, ms",
            "re-ranking",
            f"at most {RERANKING_P99_MS:g} ms",
            p99_ms,
            p99_ms <= RERANKING_P99_MS,
        )


def _lowest_gini(frontier: ExposureFrontier | None) -> str:
    if frontier is None:
        return ""
    loss = f"{frontier.maximum_relevance_loss:.0%}"
    return f"no slates of these candidates are below {frontier.gini_bound:.2f} at {loss} loss"


def _index(sections: EvaluationSections) -> Iterator[Bar]:
    index = sections.index
    if index is None:
        return
    why = "" if index.item_count >= INDEX_ITEMS else f"{index.item_count:,} items: exact search is as fast"
    if index.is_exact:
        why = why or "the index is exact"
        for name, requirement in (
            ("recall@500 against exact search", f"at least {INDEX_RECALL:.2f}"),
            ("share of exact search's median time", "at most 1/3"),
        ):
            note = f"{why}; measure {INDEX_ITEMS:,} items with 'streamrec recommendations index tune'"
            applies = index.item_count >= INDEX_ITEMS
            yield Bar(name, "index", requirement, None, None, None, note, applies)
        return
    yield _bar(
        "recall@500 against exact search",
        "index",
        f"at least {INDEX_RECALL:.2f}",
        index.recall,
        least=INDEX_RECALL,
        note=why,
    )
    yield _plain_bar(
        "share of exact search's median time",
        "index",
        "at most 1/3",
        index.time_share,
        index.time_share <= INDEX_TIME_SHARE,
        note=why,
    )


def _bar(
    name: str,
    group: str,
    requirement: str,
    figure: Interval | None,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    also: bool = True,
    note: str = "",
    unmeasured: str = "",
) -> Bar:
    if figure is None:
        return Bar(name, group, requirement, None, None, None, unmeasured)
    met = also and least <= figure.value <= most
    return Bar(name, group, requirement, figure.value, figure, met, note)


def _plain_bar(name: str, group: str, requirement: str, figure: float, met: bool, *, note: str = "") -> Bar:
    return Bar(name, group, requirement, figure, None, met, note)
