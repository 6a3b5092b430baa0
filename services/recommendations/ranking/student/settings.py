"""Settings of the student, and the rule that bounds how much it asks of the teacher."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamrec.contracts.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class StudentNetworkSettings:
    """Sizes of the student.

    Attributes:
        dimension: Length of the vectors of the history's items; a multiple of ``head_count``. Candidates have
            the teacher's vectors, and users vectors as long as those.
        head_count: Attention heads.
        history_length: Newest known items of a history that count.
        pool_count: Weighted means of the history, each with its own learned weight by steps back.
        newest_count: Newest items that are seen one by one, in their order.
        hidden_size: Width of the hidden layer.
        table_length: Newest items of a history that the item-to-item tables are read for; see `features`.
    """

    dimension: int = 64
    head_count: int = 4
    history_length: int = 200
    pool_count: int = 3
    newest_count: int = 3
    hidden_size: int = 256
    table_length: int = 50


@dataclass(frozen=True, slots=True)
class DistillationSettings:
    """What the teacher is asked, and how the student is fitted to the answers.

    Attributes:
        label_share: Histories that the teacher scores, as a share of the train interactions.
        score_budget: Most item scores that are asked of the teacher in all; it bounds the time and the memory
            whatever the size of the catalogue.
        minimum_labels: Fewest histories that are scored, where there are as many.
        labels_per_window: Histories out of one stretch of a sequence: they are encoded together.
        windows_per_step: Stretches of one optimiser step.
        whole_share: Share of the stretches that end where the train sequence ends, as served histories do.
        top_count: Items with the teacher's highest scores that each count as one in the loss.
        sample_count: Items drawn uniformly that stand for all the others in the loss, shared by a step.
        temperature: Of the softmax over the teacher's and the student's scores.
        epochs: How often every label is looked at.
        learning_rate: Peak of AdamW's rate: warmed up, then lowered along a cosine.
        input_rate: Rate of the history's item vectors, as a share of that of all else: they start from the
            teacher's own, and a few thousand histories say little of most items.
    """

    label_share: float = 0.08
    score_budget: int = 150_000_000
    minimum_labels: int = 2_000
    labels_per_window: int = 2
    windows_per_step: int = 64
    whole_share: float = 0.25
    top_count: int = 200
    sample_count: int = 1_024
    temperature: float = 1.0
    epochs: int = 12
    learning_rate: float = 4e-3
    input_rate: float = 0.1

    def label_count(self, interaction_count: int, item_count: int) -> int:
        """How many histories the teacher scores."""
        wanted = max(self.minimum_labels, round(self.label_share * interaction_count))
        return max(1, min(wanted, interaction_count, self.score_budget // max(1, item_count)))


@dataclass(frozen=True, slots=True)
class StudentSettings:
    """What the student is and how it is distilled."""

    network: StudentNetworkSettings = field(default_factory=StudentNetworkSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work; the error names the field."""
        for group, names in (
            (
                "network",
                (
                    "dimension",
                    "head_count",
                    "history_length",
                    "pool_count",
                    "newest_count",
                    "hidden_size",
                    "table_length",
                ),
            ),
            (
                "distillation",
                (
                    "score_budget",
                    "minimum_labels",
                    "labels_per_window",
                    "windows_per_step",
                    "top_count",
                    "sample_count",
                    "epochs",
                ),
            ),
        ):
            for name in names:
                if getattr(getattr(self, group), name) < 1:
                    raise InvalidInputError(f"student.{group}.{name}", "must be 1 or more")
        if self.network.dimension % self.network.head_count:
            raise InvalidInputError("student.network.dimension", "must be a multiple of head_count")
        for name in ("label_share", "whole_share", "input_rate"):
            if not 0.0 <= getattr(self.distillation, name) <= 1.0:
                raise InvalidInputError(f"student.distillation.{name}", "must lie between 0 and 1")
        for name in ("temperature", "learning_rate"):
            if not getattr(self.distillation, name) > 0.0:
                raise InvalidInputError(f"student.distillation.{name}", "must be positive")
