"""Training the ranker on the train part of a split.

In this order, each from what came before:

1. The newest few train items of every user are held out from everything below but the last step.
2. The network is fitted on the rest, stopping by NDCG@10 on the validation items.
3. The candidate tables are counted on the rest; the weights of the score are fitted on the held-out items.
4. The tables are counted again on all train items: serving knows the newest transitions too.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from services.recommendations.ranking.batches import newest
from services.recommendations.ranking.candidate_features import FEATURES, CandidateTables
from services.recommendations.ranking.combination import (
    Combination,
    choices,
    fit_combination,
    held_out_counts,
    without_newest,
)
from services.recommendations.ranking.content import ContentTable
from services.recommendations.ranking.model import RankingModel
from services.recommendations.ranking.network import PADDING, SequenceNetwork
from services.recommendations.ranking.optimisation import fit_network
from services.recommendations.ranking.settings import RankingSettings
from services.recommendations.ranking.top_items import RankerTopItems
from services.recommendations.training_input import MODEL_NAMES, TrainingInput, settings_fingerprint
from services.recommendations.types import Segment
from streamrec.contracts.errors import DataFolderError, InvalidInputError, PermanentError
from streamrec.contracts.models import ModelSignature, ModelSpec, TensorSpec
from streamrec.datasets.dataset import INTERACTIONS_FILE, SEGMENT_COLUMNS, Dataset
from streamrec.training.evaluation import HeldOut, evaluate
from streamrec.training.ranking_metrics import ndcg_at, rank_of, top_unseen

__all__ = ["RankingSettings", "train"]

_VALIDATION_BATCH: Final = 64
_VALIDATION_DEPTH: Final = 10
_EVALUATED_USERS: Final = 1000
"""Most users that the figures of the registered version are measured on; the full report measures all."""
_HELD_OUT: Final[tuple[HeldOut, ...]] = ("validation", "test")


def train(training: TrainingInput, settings: RankingSettings, output: Path) -> ModelSpec:
    """Train the ranker and write its artifact into ``output``.

    The same seed on the same machine with the same number of threads gives the same model.

    Raises:
        DataFolderError: A column that the ranker reads holds a value that is not one; names the column.
        InvalidInputError: No user to validate on, or a feature came out as not finite; names the feature.
        PermanentError: The loss stopped being finite.
    """
    _check_columns(training.dataset)
    if training.split.evaluated.size == 0:
        raise InvalidInputError("split", "no user has enough interactions to validate the ranker on")
    segments = segments_by_user(training.dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model, best_epoch = _fit(training, settings, segments)
    model.save(output)
    return ModelSpec(
        name=MODEL_NAMES["ranking"],
        signature=_signature(),
        data_fingerprint=training.dataset.fingerprint,
        settings_fingerprint=settings_fingerprint(settings, training.seed),
        metrics=_metrics(model, training, segments),
        parameters={
            **asdict(settings),
            "seed": training.seed,
            "best_epoch": best_epoch,
            "weights": dict(
                zip(("network", *FEATURES), model.combination.weights.round(4).tolist(), strict=True)
            ),
        },
    )


def segments_by_user(dataset: Dataset) -> dict[str, Segment]:
    """Segment of every user of the data set."""
    rows = dataset.users[["user_id", *SEGMENT_COLUMNS]].itertuples(index=False, name=None)
    return {user_id: Segment(*attributes) for user_id, *attributes in rows}


def _check_columns(dataset: Dataset) -> None:
    for column in ("user_id", "item_id", "timestamp"):
        missing = int(dataset.interactions[column].isna().sum())
        if missing:
            raise DataFolderError(
                dataset.folder / INTERACTIONS_FILE,
                column,
                f"{missing} values are missing; import the folder again to quarantine their rows",
            )


def _fit(
    training: TrainingInput, settings: RankingSettings, segments: dict[str, Segment]
) -> tuple[RankingModel, int]:
    split, catalogue = training.split, training.split.catalogue
    rng = np.random.default_rng(training.seed)
    held_out = held_out_counts(split.train.lengths, settings.combination)
    rest = without_newest(split.train, held_out)
    network = SequenceNetwork(
        ContentTable.of(catalogue, settings.network.minimum_feature_count),
        np.bincount(rest.items, minlength=len(catalogue)),
        settings.network,
    )
    validate = _Validation(training, settings, rng)
    best_epoch = fit_network(
        network,
        rest,
        settings.optimisation,
        history_length=settings.network.history_length,
        validate=validate.ndcg,
        rng=rng,
        progress=training.progress,
    )
    unweighted = RankingModel.of(
        catalogue.item_ids,
        settings.network,
        network,
        CandidateTables.fit(rest, catalogue, settings.features),
        Combination.network_alone(len(FEATURES)),
    )
    combination = _weigh(unweighted, held_out, training, settings, segments, rng)
    tables = CandidateTables.fit(split.train, catalogue, settings.features)
    return RankingModel.of(catalogue.item_ids, settings.network, network, tables, combination), best_epoch


def _weigh(
    model: RankingModel,
    held_out: NDArray[np.int64],
    training: TrainingInput,
    settings: RankingSettings,
    segments: dict[str, Segment],
    rng: np.random.Generator,
) -> Combination:
    """Fit the weights of the score on the held-out items."""
    train_sequences = training.split.train
    expected = min(int(held_out.sum()), settings.combination.maximum_examples)
    width = 1 + settings.combination.negative_count
    inputs = np.zeros((expected, width, 1 + len(FEATURES)), dtype=np.float32)
    sizes = np.zeros(expected, dtype=np.int64)
    training.progress.start("ranker: candidate features", expected)
    made = 0
    for choice in choices(train_sequences, held_out, len(model.item_ids), settings.combination, rng):
        segment = segments.get(train_sequences.user_ids[choice.user], Segment())
        size = len(choice.candidates)
        inputs[made, :size, 0] = model.logits(choice.history, choice.candidates)
        inputs[made, :size, 1:] = model.tables.features(choice.history, segment, choice.candidates)
        sizes[made] = size
        made += 1
        training.progress.advance()
    inputs, sizes = inputs[:made], sizes[:made]
    check_features(inputs)
    combination = fit_combination(inputs, sizes, settings.combination.l2)
    training.progress.finish(note=f"weights fitted on {made} held-out items")
    return combination


def check_features(inputs: NDArray[np.float32]) -> None:
    """Refuse values that are not finite.

    Args:
        inputs: Shape (examples, candidates, 1 + features): the network's logit, then each feature.

    Raises:
        InvalidInputError: Names the first feature at fault.
    """
    finite = np.isfinite(inputs).all(axis=(0, 1))
    if not finite.all():
        name = ("network_logit", *FEATURES)[int(np.argmin(finite))]
        raise InvalidInputError(f"features.{name}", "holds NaN or an infinity; training on it is refused")


class _Validation:
    """NDCG@10 of the network alone on the validation items of a fixed sample of users."""

    def __init__(self, training: TrainingInput, settings: RankingSettings, rng: np.random.Generator) -> None:
        split = training.split
        size = min(settings.optimisation.validation_users, split.evaluated.size)
        chosen = np.sort(rng.choice(split.evaluated.size, size, replace=False))
        self._users, self._targets = split.evaluated[chosen], split.validation[chosen]
        self._train = split.train
        self._history_length = settings.network.history_length
        self._seen = split.train.matrix(len(split.catalogue))[self._users]

    def ndcg(self, network: SequenceNetwork) -> float:
        """Mean over the users, seen items filtered, over the whole catalogue."""
        histories = newest(self._train, self._users, self._history_length)
        ranks = []
        with torch.inference_mode():
            vectors, biases = network.item_vectors(), network.item_biases()
            for start in range(0, len(histories), _VALIDATION_BATCH):
                batch = slice(start, start + _VALIDATION_BATCH)
                items = _right_padded(histories[batch])
                last = torch.from_numpy((items != PADDING).sum(axis=1) - 1)
                states = network.hidden_states(torch.from_numpy(items), vectors)
                scores = states[torch.arange(len(items)), last] @ vectors.T + biases
                top = top_unseen(scores.numpy(), self._seen[batch], _VALIDATION_DEPTH)
                ranks.append(rank_of(top, self._targets[batch]))
        return float(ndcg_at(np.concatenate(ranks), _VALIDATION_DEPTH).mean())


def _right_padded(histories: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    items = np.full((len(histories), max(map(len, histories))), PADDING, dtype=np.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
    return items


def _metrics(model: RankingModel, training: TrainingInput, segments: dict[str, Segment]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    top_items = RankerTopItems(model, segments)
    training.progress.start("ranker: evaluation", len(_HELD_OUT))
    for on in _HELD_OUT:
        result = evaluate(top_items, training.split, seed=training.seed, on=on, max_users=_EVALUATED_USERS)
        for metric, interval in result.metrics.items():
            value = interval.value
            if not np.isfinite(value):
                raise PermanentError(f"{on} {metric} is not finite")
            metrics[f"{on}_{metric.replace('@', '_at_')}"] = value
        training.progress.advance(note=f"{on} NDCG@10 {metrics[f'{on}_ndcg_at_10']:.4f}")
    training.progress.finish(note=f"test NDCG@10 {metrics['test_ndcg_at_10']:.4f}")
    return metrics


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=(
            TensorSpec("history", "str", (-1,)),
            TensorSpec("segment", "str", (len(SEGMENT_COLUMNS),)),
            TensorSpec("candidates", "str", (-1,)),
        ),
        outputs=(TensorSpec("scores", "float32", (-1,)),),
    )
