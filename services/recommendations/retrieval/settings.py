"""Settings of the two-tower model."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.recommendations.item_index.index import IndexSettings
from streamrec.contracts.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """What the two-tower model is and how it is trained.

    Attributes:
        dimension: Length of user and item vectors.
        history_length: Newest known items of a history that the user tower looks at. All of the history is
            excluded from the answer, however long.
        pool_count: Weighted means of the history, each with its own learned weight by recency.
        temperature: Of the softmax over cosine similarities.
        epoch_count: Most passes over the examples.
        patience: Epochs without a better validation metric after which training stops.
        whole_epoch_examples: Up to this many examples an epoch is all of them. Of more, each epoch takes a
            sample of its own.
        epoch_share: Share of the examples in that sample, at least `whole_epoch_examples` of them.
        maximum_examples_per_epoch: Most of them, which bounds the time of an epoch however large the data.
        batch_size: Examples per step; their targets are each other's negatives.
        uniform_negative_count: Negatives per step drawn uniformly from the catalogue, so that unpopular items
            are seen as negatives too (Yang et al. 2020, mixed negative sampling).
        hard_negative_count: Negatives of each example drawn from what the last epoch's model would have shown
            its user; 0 for none.
        hard_negative_window: How many items of that answer they are drawn from.
        maximum_mined_users: Most users whose answer is looked up for that before an epoch.
        learning_rate: Peak of Adam's rate: warmed up, then lowered along a cosine.
        item_dropout: Share of items that must do without their id embedding in a step. It is what makes the
            content part good enough to stand alone for an item published a minute ago.
        history_dropout: Share of a history's items left out in a step; the newest one stays.
        minimum_feature_count: Items that must share a topic, creator, language or year for it to get an
            embedding.
        validation_users: Most users measured after each epoch.
        index: How the items are searched.
    """

    dimension: int = 64
    history_length: int = 100
    pool_count: int = 3
    temperature: float = 0.1
    epoch_count: int = 6
    patience: int = 2
    whole_epoch_examples: int = 100_000
    epoch_share: float = 0.3
    maximum_examples_per_epoch: int = 400_000
    batch_size: int = 1024
    uniform_negative_count: int = 1024
    hard_negative_count: int = 8
    hard_negative_window: int = 200
    maximum_mined_users: int = 10_000
    learning_rate: float = 7e-3
    item_dropout: float = 0.1
    history_dropout: float = 0.2
    minimum_feature_count: int = 2
    validation_users: int = 2000
    index: IndexSettings = field(default_factory=IndexSettings)

    def __post_init__(self) -> None:
        for name in (
            "dimension",
            "history_length",
            "pool_count",
            "epoch_count",
            "patience",
            "whole_epoch_examples",
            "maximum_examples_per_epoch",
            "batch_size",
            "hard_negative_window",
            "maximum_mined_users",
            "minimum_feature_count",
            "validation_users",
        ):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"retrieval.{name}", "must be 1 or more")
        for name in ("uniform_negative_count", "hard_negative_count"):
            if getattr(self, name) < 0:
                raise InvalidInputError(f"retrieval.{name}", "must be 0 or more")
        for name in ("temperature", "learning_rate"):
            if not getattr(self, name) > 0.0:
                raise InvalidInputError(f"retrieval.{name}", "must be positive")
        for name in ("item_dropout", "history_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InvalidInputError(f"retrieval.{name}", "must be at least 0 and below 1")
        if not 0.0 < self.epoch_share <= 1.0:
            raise InvalidInputError("retrieval.epoch_share", "must be above 0 and at most 1")

    def examples_per_epoch(self, example_count: int) -> int:
        """How many of ``example_count`` examples one epoch looks at."""
        sample = max(self.whole_epoch_examples, int(self.epoch_share * example_count))
        return min(example_count, sample, self.maximum_examples_per_epoch)
