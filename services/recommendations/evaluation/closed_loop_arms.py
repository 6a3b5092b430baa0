"""Arms of the closed loop: what moves the seven-day churn of new users, one ingredient at a time.

Every arm gets the same new users with the same tastes and signup times (`world.closed_loop.run_arm`), so arms
differ by their policies alone. The models are trained on the world's log of the old policy, as a company
would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.recommendations.evaluation.closed_loop_policy import PipelinePolicy, PolicyModels
from services.recommendations.pipeline.hand_over import HandOver
from services.recommendations.pipeline.pipeline import PipelineSettings
from services.recommendations.reranking.relevance_order import RelevanceOrder
from services.recommendations.world.closed_loop import Run, observable_catalogue, run_arm, run_best_known
from services.recommendations.world.policies import PopularityThenRelevance
from services.recommendations.world.settings import WorldSettings
from services.recommendations.world.summary import RunSummary
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.intervals import Interval, interval_json
from streamrec.contracts.progress import Progress
from streamrec.datasets.dataset import Dataset
from streamrec.features.store import ItemTable
from streamrec.stats.intervals import normal_interval
from streamrec.training.splits import user_sequences

OLD: Final = "old policy"
PIPELINE: Final = "pipeline as served"
GREEDY: Final = "pipeline without exploration"
BEST_KNOWN: Final = "knows every taste"

_NEVER: Final = HandOver(kappa=1e12)
"""Cold start keeps all of the weight, however many interactions there are."""


@dataclass(frozen=True)
class Arm:
    """A policy made of some of the pipeline's ingredients.

    Attributes:
        name: In the table.
        blend: Fields of `cold_start.model.Blend` that differ from the trained ones.
        handed_over: Whether retrieval and the ranker take over as interactions come in.
        reranked: Whether the re-ranker chooses the slate.
    """

    name: str
    blend: Mapping[str, float] = field(default_factory=dict)
    handed_over: bool = True
    reranked: bool = True


_GREEDY_BLEND: Final = {"exploration": 0.0}
_NO_TASTE: Final = {**_GREEDY_BLEND, "segment_weight": 0.0, "taste_weight": 0.0}

LADDER: Final = (
    Arm("popular in the language", _NO_TASTE, False, False),
    Arm("+ taste of the segment", {**_GREEDY_BLEND, "taste_weight": 0.0}, False, False),
    Arm("+ taste from clicks", _GREEDY_BLEND, False, False),
    Arm("+ hand-over to retrieval and ranking", _GREEDY_BLEND, True, False),
    Arm(GREEDY, _GREEDY_BLEND),
    Arm(PIPELINE),
)
"""Each adds one ingredient to the one before; the last is what is served."""

VARIANTS: Final = (Arm("pipeline with whole posterior draws", {"exploration": 1.0}),)
"""What was tried beside it."""

ARM_NAMES: Final = (OLD, *(arm.name for arm in (*LADDER, *VARIANTS)), BEST_KNOWN)


@dataclass(frozen=True)
class ArmResult:
    """What one arm did.

    Attributes:
        name: Which.
        summary: The measures the company watches.
        satisfaction_per_page: Mean over pages, 0 to 1; the interval is over users.
        regret_per_page: Satisfaction per page of the reference arm less this one's, on the same users.
        churn_against_old: Seven-day churn less the old policy's, on the same users; None without that arm.
    """

    name: str
    summary: RunSummary
    satisfaction_per_page: Interval
    regret_per_page: Mapping[str, Interval]
    churn_against_old: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "summary": self.summary.as_json(),
            "satisfaction_per_page": self.satisfaction_per_page.to_json(),
            "regret_per_page": {name: regret.to_json() for name, regret in self.regret_per_page.items()},
            "churn_against_old": interval_json(self.churn_against_old),
        }


def run_arms(
    settings: WorldSettings,
    dataset: Dataset,
    models: PolicyModels,
    users: int,
    progress: Progress,
    *,
    names: Sequence[str] | None = None,
    pipeline: PipelineSettings | None = None,
) -> dict[str, ArmResult]:
    """Run arms over the same new users.

    Args:
        settings: The world.
        dataset: Its log: what the old policy counts popularity from.
        models: Trained on it.
        users: New users of every arm.
        progress: Shows the ticks of each.
        names: Some of `ARM_NAMES`; all of them when None.
        pipeline: As the gateway has it.

    Returns:
        Result by name, in the order of `ARM_NAMES`.

    Raises:
        InvalidInputError: A name is none of `ARM_NAMES`, or ``users`` is out of bounds.
    """
    unknown = [name for name in names or () if name not in ARM_NAMES]
    if unknown:
        raise InvalidInputError("arms", f"{', '.join(unknown)}: choose from {', '.join(ARM_NAMES)}")
    chosen = [name for name in ARM_NAMES if names is None or name in names]
    runs: dict[str, tuple[Run, RunSummary]] = {}
    for name in chosen:
        if name == BEST_KNOWN:
            runs[name] = run_best_known(settings, users, progress)
            continue
        policy: PopularityThenRelevance | PipelinePolicy
        if name == OLD:
            policy = old_policy(settings, dataset)
        else:
            arm = next(arm for arm in (*LADDER, *VARIANTS) if arm.name == name)
            policy = arm_policy(arm, dataset, models, pipeline or PipelineSettings())
        runs[name] = run_arm(settings, policy, users, progress)
    return {name: _result(name, runs) for name in chosen}


def old_policy(settings: WorldSettings, dataset: Dataset) -> PopularityThenRelevance:
    """The old policy as it stands at the end of the log."""
    log = user_sequences(dataset)
    catalogue = observable_catalogue(settings)
    return PopularityThenRelevance.after_log(catalogue, log.items, log.timestamps, settings.end_seconds)


def arm_policy(
    arm: Arm, dataset: Dataset, models: PolicyModels, pipeline: PipelineSettings
) -> PipelinePolicy:
    """The policy of an arm."""
    cold_start = replace(models.cold_start, blend=replace(models.cold_start.blend, **arm.blend))
    reranking = models.reranking if arm.reranked else RelevanceOrder()
    return PipelinePolicy(
        replace(models, cold_start=cold_start, reranking=reranking),
        _item_table(dataset),
        pipeline if arm.handed_over else replace(pipeline, hand_over=_NEVER),
    )


def _item_table(dataset: Dataset) -> ItemTable:
    """The items with their popularity in the whole log."""
    items = user_sequences(dataset).items
    counts = np.bincount(items, minlength=len(dataset.catalogue)).astype(np.int64)
    return ItemTable(dataset.catalogue, counts, revision=dataset.fingerprint)


def _result(name: str, runs: Mapping[str, tuple[Run, RunSummary]]) -> ArmResult:
    run, summary = runs[name]
    references = [other for other in (GREEDY, BEST_KNOWN) if other in runs and other != name]
    old = runs.get(OLD)
    return ArmResult(
        name=name,
        summary=summary,
        satisfaction_per_page=normal_interval(*_linearised(run)),
        regret_per_page={other: _paired_difference(runs[other][0], run) for other in references},
        churn_against_old=None if old is None or name == OLD else _churn_difference(run, old[0]),
    )


def _linearised(run: Run) -> tuple[float, NDArray[np.float64]]:
    """Satisfaction per page, and what each user contributes to its error.

    The delta method for a ratio of two means over users (Deng, Knoblich and Lu 2018, "Applying the delta
    method in metric analytics", eq. 4).
    """
    ratio = float(run.satisfaction.sum() / max(run.pages.sum(), 1))
    return ratio, (run.satisfaction - ratio * run.pages) / max(float(run.pages.mean()), 1e-9)


def _paired_difference(reference: Run, run: Run) -> Interval:
    better, of_better = _linearised(reference)
    value, of_value = _linearised(run)
    return normal_interval(better - value, of_better - of_value)


def _churn_difference(run: Run, old: Run) -> Interval:
    difference = old.returned[old.followed].astype(np.float64) - run.returned[run.followed]
    return normal_interval(float(difference.mean()), difference - difference.mean())
