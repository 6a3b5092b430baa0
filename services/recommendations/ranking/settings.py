"""Settings of the ranker, and the rule that bounds the training time whatever the size of the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from services.recommendations.training.known_rejections import RejectionSettings
from streamrec.contracts.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The network over the user's history: learned pools and a causal transformer.

    Attributes:
        dimension: Length of item vectors and hidden states; a multiple of ``head_count``.
        layer_count: Transformer blocks.
        head_count: Attention heads of a block.
        history_length: Newest known items of a history that the network looks at.
        pool_count: Weighted means of the history, each with its own learned weight by recency.
        temperature: Of the softmax over cosine similarities.
        dropout: Share of the transformer's hidden values dropped in training.
        item_dropout: Share of items that must do without their id embedding in a step, so that the content
            part can stand alone for an item that nobody has touched yet. An item without content keeps it.
        minimum_feature_count: Items that must share a topic, creator, language or year for it to get an
            embedding.
    """

    dimension: int = 128
    layer_count: int = 2
    head_count: int = 4
    history_length: int = 200
    pool_count: int = 4
    temperature: float = 0.08
    dropout: float = 0.3
    item_dropout: float = 0.1
    minimum_feature_count: int = 2


@dataclass(frozen=True, slots=True)
class PhaseSettings:
    """How long and how fast one phase of the training goes.

    Attributes:
        interaction_budget: Interactions that the phase may look at in all its epochs together. It bounds the
            time whatever the data's size, without a clock, so that a run can be repeated exactly: a million
            interactions get 2 epochs out of 2,000,000.
        maximum_epochs: Most epochs, however small the data.
        patience: Epochs without a better validation metric after which the phase ends.
        batch_interactions: Target items of one step.
        learning_rate: Peak of AdamW's rate: warmed up, then lowered along a cosine.
        weight_decay: Of AdamW, on the transformer's matrices.
    """

    interaction_budget: int
    maximum_epochs: int
    patience: int
    batch_interactions: int
    learning_rate: float
    weight_decay: float

    def total(self, interaction_count: int) -> int:
        """Most interactions looked at, when there are ``interaction_count``; the last epoch may be a part."""
        return min(self.interaction_budget, self.maximum_epochs * interaction_count)


@dataclass(frozen=True, slots=True)
class OptimisationSettings:
    """How the network is fitted.

    Attributes:
        pools: The first phase: item vectors, pools and segments.
        joint: The second phase: the transformer on top of them, and all of them together.
        uniform_negative_count: Negatives of a step drawn uniformly from the catalogue and shared by the step.
        popular_negative_count: Negatives of a step drawn by their share of the interactions, shared too.
        full_softmax_items: A catalogue of at most this many items is taken whole instead of sampled: the
            loss is the exact softmax.
        history_dropout: Share of a history's items left out of the pools in a step of the first phase; the
            newest one stays.
        vector_dropout: Share of the values of the history's item vectors dropped in a step of the second
            phase.
        validation_users: Most users measured after an epoch.
        rejections: How much dislikes and skips count.
    """

    pools: PhaseSettings = PhaseSettings(
        interaction_budget=2_000_000,
        maximum_epochs=12,
        patience=2,
        batch_interactions=1024,
        learning_rate=5e-3,
        weight_decay=0.0,
    )
    joint: PhaseSettings = PhaseSettings(
        interaction_budget=14_000_000,
        maximum_epochs=14,
        patience=6,
        batch_interactions=2048,
        learning_rate=2e-3,
        weight_decay=0.01,
    )
    uniform_negative_count: int = 1024
    popular_negative_count: int = 1024
    full_softmax_items: int = 4096
    history_dropout: float = 0.2
    vector_dropout: float = 0.25
    validation_users: int = 1000
    rejections: RejectionSettings = field(default_factory=RejectionSettings)


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
        maximum_examples: More held-out items than this are sampled, and no more are held out than one a user
            or about this many in all.
        negative_count: Items that each of them should be ranked above: one half those that the network ranks
            highest, the other half a uniform sample of the rest.
        l2: Strength of the pull towards the network's two logits alone, each with half of the weight.
    """

    held_out_per_user: int = 3
    held_out_share: float = 0.1
    maximum_examples: int = 3000
    negative_count: int = 1000
    l2: float = 1e-2


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """What the ranker is and how it is trained, one group per part.

    The defaults are for quality: the budget of interactions and the sampled softmax keep a million
    interactions within an hour on two cores. `quick` is for a demonstration.
    """

    network: NetworkSettings = field(default_factory=NetworkSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    combination: CombinationSettings = field(default_factory=CombinationSettings)

    @classmethod
    def quick(cls) -> Self:
        """The same ranker, smaller: about a minute on two cores on 200,000 interactions with 20,000 items."""
        whole = OptimisationSettings()
        return cls(
            network=NetworkSettings(dimension=64, head_count=2, history_length=100, temperature=0.1),
            optimisation=replace(
                whole,
                pools=replace(whole.pools, interaction_budget=500_000, learning_rate=7e-3),
                joint=replace(whole.joint, interaction_budget=200_000, maximum_epochs=4),
            ),
            combination=CombinationSettings(maximum_examples=1500),
        )

    def __post_init__(self) -> None:
        """Refuse settings that cannot work; the error names the field."""
        _require_at_least_one(
            self.network,
            "network",
            (
                "dimension",
                "layer_count",
                "head_count",
                "history_length",
                "pool_count",
                "minimum_feature_count",
            ),
        )
        _require_at_least_one(
            self.optimisation, "optimisation", ("uniform_negative_count", "validation_users")
        )
        for name in ("pools", "joint"):
            phase, path = getattr(self.optimisation, name), f"optimisation.{name}"
            _require_at_least_one(
                phase, path, ("interaction_budget", "maximum_epochs", "patience", "batch_interactions")
            )
            if not phase.learning_rate > 0.0:
                raise InvalidInputError(f"ranking.{path}.learning_rate", "must be positive")
            if not phase.weight_decay >= 0.0:
                raise InvalidInputError(f"ranking.{path}.weight_decay", "must not be negative")
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
        if not self.network.temperature > 0.0:
            raise InvalidInputError("ranking.network.temperature", "must be positive")
        for name in ("history_dropout", "vector_dropout"):
            if not 0.0 <= getattr(self.optimisation, name) < 1.0:
                raise InvalidInputError(f"ranking.optimisation.{name}", "must be at least 0 and below 1")
        if self.optimisation.popular_negative_count < 0:
            raise InvalidInputError("ranking.optimisation.popular_negative_count", "must be 0 or more")
        if not 0.0 < self.combination.held_out_share < 1.0:
            raise InvalidInputError("ranking.combination.held_out_share", "must lie between 0 and 1")
        if not self.combination.l2 > 0.0:
            raise InvalidInputError("ranking.combination.l2", "must be positive")


def _require_at_least_one(group: object, path: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(group, name) < 1:
            raise InvalidInputError(f"ranking.{path}.{name}", "must be 1 or more")
