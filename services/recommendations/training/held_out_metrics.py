"""The held-out ranking metrics that a stage registers with its model."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.recommendations.training.input import TrainingInput
from streamrec.contracts.errors import PermanentError
from streamrec.training.evaluation import CatalogueRanker, evaluate
from streamrec.training.splits import HeldOut

HELD_OUT: Final[tuple[HeldOut, ...]] = ("validation", "test")


def held_out_metrics(
    model: CatalogueRanker, training: TrainingInput, name: str, maximum_users: int
) -> dict[str, float]:
    """Measure a trained model on the validation and on the test items.

    Args:
        model: What was trained.
        training: Data, split, seed and progress.
        name: Of the model, in progress and errors.
        maximum_users: Most users that are measured, drawn by the seed; the full report measures all.

    Returns:
        By ``validation_`` or ``test_`` and the metric's name with ``at`` for ``@``: ``test_ndcg_at_10``.

    Raises:
        PermanentError: A metric is not finite.
    """
    metrics: dict[str, float] = {}
    training.progress.start(f"{name}: evaluation", len(HELD_OUT))
    for on in HELD_OUT:
        result = evaluate(model, training.split, seed=training.seed, on=on, max_users=maximum_users)
        for metric, interval in result.metrics.items():
            if not np.isfinite(interval.value):
                raise PermanentError(f"{on} {metric} of the {name} is not finite")
            metrics[f"{on}_{metric.replace('@', '_at_')}"] = interval.value
        training.progress.advance(note=f"{on} NDCG@10 {metrics[f'{on}_ndcg_at_10']:.4f}")
    training.progress.finish(note=f"test NDCG@10 {metrics['test_ndcg_at_10']:.4f}")
    return metrics
