"""What the model cards of this spoke say in words: purpose and limits of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class StageText:
    """Words about one stage.

    Attributes:
        purpose: What it does, and where in the pipeline.
        limits: What it must not be used for, and what its figures do not say.
    """

    purpose: str
    limits: tuple[str, ...]


_OFFLINE: Final = (
    "The figures are of one held-out item per user. They say how well the past is continued, not what a "
    "different list would have caused: decide between versions that serve by an experiment."
)
_GROUPS: Final = (
    "Figures by group describe; they are no fairness decision. A group that is too small to be reported may "
    "be served badly without this card showing it."
)
_PERSONAL: Final = (
    "Not for decisions about people outside the choice of content: prices, credit, moderation, employment. "
    "What it infers of a user's taste must not be shown or passed on as a fact about the user."
)

STAGE_TEXTS: Final[Mapping[str, StageText]] = {
    "retrieval": StageText(
        purpose="Finds 500 candidates for a user with a history: a two-tower model whose user vector is "
        "searched among the items' vectors. First stage of the recommendation pipeline.",
        limits=(
            "Not for the final order of a slate: it does not see the order of the history beyond its "
            "recency, and its scores are cosines, not probabilities.",
            "An item that was not trained on stands where its content puts it. One without topics, creator, "
            "language and year has the zero vector and is hardly ever found.",
            "Its popularity bias is that of the interactions: it finds what was shown before.",
            _OFFLINE,
            _GROUPS,
            _PERSONAL,
        ),
    ),
    "ranking_teacher": StageText(
        purpose="Scores items for a user by the order of the history: the transformer that the student "
        "ranker is distilled from. It is evaluated and taught from; it does not serve.",
        limits=(
            "Not for serving under the request budget: see the latency below.",
            "Scores compare items for one user. They are not probabilities and do not compare users.",
            "Items that it was not trained on are ranked last; it must be trained again as the catalogue "
            "grows.",
            "Without any history its order is what everyone likes: cold start is another model.",
            _OFFLINE,
            _GROUPS,
            _PERSONAL,
        ),
    ),
    "ranking": StageText(
        purpose="Orders the candidates of one user by the order of the history. Second stage of the "
        "recommendation pipeline.",
        limits=(
            "Scores compare items for one user. They are not probabilities until they are divided by the "
            "re-ranker's temperature, and they do not compare users.",
            "Items that it was not trained on come last, in the order given; it must be trained again as "
            "the catalogue grows.",
            "Without any history its order is what everyone likes: cold start is another model.",
            _OFFLINE,
            _GROUPS,
            _PERSONAL,
        ),
    ),
    "cold_start": StageText(
        purpose="Finds candidates for a user with little or no history: a Gaussian posterior in the space "
        "of the items, with a prior from the user's segment, updated by each interaction; one draw "
        "is searched.",
        limits=(
            "Works in the embedding space of the one retrieval version that it names, and in no other.",
            "Segments are what users say at sign-up. It must not be used to infer a segment from behaviour.",
            "It explores: two requests of one user may differ, and some items are shown to learn from them.",
            "Not for users with long histories: it counts items and does not see their order.",
            "Histories were cut short for these figures. A user who really is new differs from one whose "
            "past was hidden.",
            _OFFLINE,
            _GROUPS,
            _PERSONAL,
        ),
    ),
    "reranking": StageText(
        purpose="Chooses the slate from ranked candidates so that creators of small languages are shown "
        "more, at a bounded loss of relevance. Last stage of the recommendation pipeline.",
        limits=(
            "Prices were fitted to the lists of the ranker below and to the traffic of the validation "
            "users. With another ranker or other traffic they miss their target: fit them again or let the "
            "controller follow.",
            "It balances creator languages. It does not balance single creators, topics or users, and it is "
            "no filter of content.",
            "Not a fairness certificate: the target is one number over all traffic.",
            _OFFLINE,
            _PERSONAL,
        ),
    ),
}
"""By stage."""
