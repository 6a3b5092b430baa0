"""Settings of the ranker, and the rule by which they scale with the size of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from streamrec.contracts.errors import InvalidInputError

_MINIMUM_EPOCHS: Final = 2


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The causal transformer over the user's history.

    Attributes:
        dimension: Length of item vectors and hidden states; a multiple of ``head_count``.
        layer_count: Transformer blocks.
        head_count: Attention heads of a block.
        history_length: Newest known items of a history that the network looks at.
        dropout: Share of hidden values dropped in training.
        item_dropout: Share of items that must do without their id embedding in a step, so that the content
            part can stand alone for an item that nobody has touched yet.
        minimum_feature_count: Items that must share a topic, creator, language or year for it to get an
            embedding.
    """

    dimension: int = 64
    layer_count: int = 2
    head_count: int = 2
    history_length: int = 100
    dropout: float = 0.3
    item_dropout: float = 0.1
    minimum_feature_count: int = 2


@dataclass(frozen=True, slots=True)
class OptimisationSettings:
    """How the network is fitted.

    Attributes:
        interaction_budget: Interactions that training may look at in all its epochs together. It bounds the
            time whatever the data's size, without a clock, so that a run can be repeated exactly: 100,000
            interactions get 15 epochs out of one and a half million.
        maximum_epochs: Most epochs, however small the data.
        patience: Epochs without a better validation NDCG@10 after which training stops.
        batch_interactions: Target items of one step.
        negative_count: Items of the sampled softmax, drawn uniformly and shared by a step. A catalogue of at
            most this many items gets the full softmax.
        learning_rate: Peak of AdamW's rate: warmed up, then lowered along a cosine.
        weight_decay: Of AdamW.
        validation_users: Most users measured after an epoch.
    """

    interaction_budget: int = 1_500_000
    maximum_epochs: int = 40
    patience: int = 4
    batch_interactions: int = 2048
    negative_count: int = 2000
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    validation_users: int = 1000

    def epochs(self, interaction_count: int) -> int:
        """Most epochs over ``interaction_count`` interactions."""
        affordable = math.ceil(self.interaction_budget / max(1, interaction_count))
        return max(_MINIMUM_EPOCHS, min(self.maximum_epochs, affordable))


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """The candidate features beside the network.

    Attributes:
        history_length: Newest known items of a history that features are computed from.
        transition_window: How many steps later an item still counts as following another.
        neighbour_count: Most items kept in a row of the transition and co-visitation tables.
        co_visitation_length: Newest items of a user that are counted as visited together; it bounds the
            quadratic work for a user with thousands of events.
    """

    history_length: int = 200
    transition_window: int = 10
    neighbour_count: int = 300
    co_visitation_length: int = 500


@dataclass(frozen=True, slots=True)
class CombinationSettings:
    """How the weights of the network's score and of the features are fitted.

    Attributes:
        held_out_per_user: Most of a user's newest train items that the network and the tables do not see, so
            that the weights are fitted on predictions and not on memories.
        held_out_share: At most this share of a user's train items is held out.
        maximum_examples: More held-out items than this are sampled.
        negative_count: Items each of them is told from, drawn uniformly from what the user has not seen.
        l2: Strength of the pull towards the network's score alone.
    """

    held_out_per_user: int = 3
    held_out_share: float = 0.1
    maximum_examples: int = 3000
    negative_count: int = 1000
    l2: float = 1e-3


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """What the ranker is and how it is trained, one group per part.

    The defaults train in about a minute on two cores on 100,000 interactions with 9,000 items and on 200,000
    with 20,000: the budget of interactions and the sampled softmax bound the work. For a larger run raise
    ``optimisation.interaction_budget`` first, then ``network.history_length`` and ``network.dimension``.
    """

    network: NetworkSettings = field(default_factory=NetworkSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    combination: CombinationSettings = field(default_factory=CombinationSettings)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work; the error names the field."""
        _require_at_least_one(
            self.network,
            "network",
            ("dimension", "layer_count", "head_count", "history_length", "minimum_feature_count"),
        )
        _require_at_least_one(
            self.optimisation,
            "optimisation",
            (
                "interaction_budget",
                "maximum_epochs",
                "patience",
                "batch_interactions",
                "negative_count",
                "validation_users",
            ),
        )
        _require_at_least_one(
            self.features,
            "features",
            ("history_length", "transition_window", "neighbour_count", "co_visitation_length"),
        )
        _require_at_least_one(
            self.combination, "combination", ("held_out_per_user", "maximum_examples", "negative_count")
        )
        if self.network.dimension % self.network.head_count:
            raise InvalidInputError("ranking.network.dimension", "must be a multiple of head_count")
        for name in ("dropout", "item_dropout"):
            if not 0.0 <= getattr(self.network, name) < 1.0:
                raise InvalidInputError(f"ranking.network.{name}", "must be at least 0 and below 1")
        if not self.optimisation.learning_rate > 0.0:
            raise InvalidInputError("ranking.optimisation.learning_rate", "must be positive")
        if not self.optimisation.weight_decay >= 0.0:
            raise InvalidInputError("ranking.optimisation.weight_decay", "must not be negative")
        if not 0.0 < self.combination.held_out_share < 1.0:
            raise InvalidInputError("ranking.combination.held_out_share", "must lie between 0 and 1")
        if not self.combination.l2 > 0.0:
            raise InvalidInputError("ranking.combination.l2", "must be positive")


def _require_at_least_one(group: object, path: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(group, name) < 1:
            raise InvalidInputError(f"ranking.{path}.{name}", "must be 1 or more")
