"""The stages as the pipeline sees them: their names, the ports that they answer behind, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.recommendations.contracts.candidates import Candidates, Segment, UserState
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole

FEATURES: Final = "features"
RETRIEVAL: Final = "retrieval"
COLD_START: Final = "cold_start"
RANKING: Final = "ranking"
RERANKING: Final = "reranking"

MODEL_STAGES: Final = (RETRIEVAL, COLD_START, RANKING, RERANKING)
"""The stages that answer with a model, in the order of a request."""

STAGES: Final = (FEATURES, *MODEL_STAGES)
"""Everything a request waits for, in order."""

MODEL_NAMES: Final[Mapping[str, str]] = {
    RETRIEVAL: "recommendations-retrieval",
    RANKING: "recommendations-ranking",
    COLD_START: "recommendations-cold-start",
    RERANKING: "recommendations-reranking",
}
"""Registered model name of each stage that serves."""

SLOTS: Final[Mapping[str, str]] = {stage: f"recommendations.{stage}" for stage in MODEL_STAGES}
"""Slot of each stage that answers with a model: its name in events, metrics and the traffic document."""


def version_name(stage: str, version: int) -> str:
    """Return ``NAME@VERSION`` of a stage's model."""
    return f"{MODEL_NAMES[stage]}@{version}"


WARM_UP_USER: Final = UserState("warm-up", Segment())
"""A user without anything: every model must be able to answer for one."""


TIMED_FOR_MS: Final = 100.0
"""The budget that re-ranking takes a request to have: by it, it judges the time that was spent."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Who is to answer in one slot: fixed when a request comes, for all its life.

    Attributes:
        stage: Of the slot.
        version: Registered version of its model.
        role: Why this version.
        holder: The rollout or experiment that holds the slot; None where none does.
        weight_bp: Share of units that the challenger answers, in basis points.
        bundle: Name of the slots that change together; None where the slot stands alone.
    """

    stage: str
    version: int
    role: ServingRole = ServingRole.CHAMPION
    holder: str | None = None
    weight_bp: int = 0
    bundle: str | None = None

    @property
    def slot(self) -> str:
        """Its slot's name."""
        return SLOTS[self.stage]

    @property
    def ref(self) -> ModelRef:
        """Name and version of its model."""
        return ModelRef(MODEL_NAMES[self.stage], self.version)


@dataclass(frozen=True, slots=True)
class StageReply:
    """What a stage answered, and which version answered it.

    Attributes:
        candidates: The items.
        version: Registered version of the model that answered.
        price_revision: Of the exposure prices that re-ranking served under: 0 for those of the model; None
            where prices took no part.
        item_revision: Of the item log that the model had followed; 0 is the imported catalogue.
        in_full: Whether the clock had no part in the answer. One that was cut off to be in time is good to
            show, but the same request may get another one.
        model_ms: The model's own time, measured where it runs: waiting for its turn there included, the way
            there left out.
    """

    candidates: Candidates
    version: int
    price_revision: int | None = None
    item_revision: int = 0
    in_full: bool = True
    model_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class StageStatus:
    """Whether a replica can answer.

    Attributes:
        name: Registered name of its model.
        version: The champion, where it is loaded; else None.
        problem: Why none is loaded; empty if one is.
    """

    name: str
    version: int | None
    problem: str


class RetrievalStage(Protocol):
    """Candidates for a user with a history."""

    async def retrieve(self, user: UserState, count: int) -> StageReply:
        """Return at most ``count`` unseen items, best first."""
        ...


class ColdStartStage(Protocol):
    """Candidates for a user with little or no history."""

    async def retrieve(self, user: UserState, count: int, request_id: str) -> StageReply:
        """Return at most ``count`` unseen items by the posterior draw that belongs to the request."""
        ...


class RankingStage(Protocol):
    """Scores for candidates."""

    async def rank(self, user: UserState, candidates: Candidates) -> StageReply:
        """Return the same items, rescored, best first."""
        ...


class RerankingStage(Protocol):
    """The order to be shown."""

    async def rerank(
        self, candidates: Candidates, user: UserState, current_latency_ms: float, slate_length: int
    ) -> StageReply:
        """Return the same items in the order to be shown, of which ``slate_length`` will be.

        ``current_latency_ms`` is out of `TIMED_FOR_MS`: what is left of these is what the request has left.
        """
        ...


@dataclass(frozen=True)
class Stages:
    """One of each, as one request is to see them: versions that belong together.

    Attributes:
        traffic_revision: Of the traffic document that names the versions; None where none does.
        pins: By stage, who answers where no challenger does; empty where no document says.
        trial: The challengers that this request is to try; None where there are none.
    """

    retrieval: RetrievalStage
    cold_start: ColdStartStage
    ranking: RankingStage
    reranking: RerankingStage
    traffic_revision: int | None = None
    pins: Mapping[str, Pin] = field(default_factory=dict)
    trial: Trial | None = None


@dataclass(frozen=True)
class Trial:
    """The challengers that one request is to try.

    Attributes:
        stages: Ask the challengers; a stage without one cannot be called.
        answering: By stage, the challengers whose answers are shown.
        shadowing: By stage, those that are asked beside, and whose answers nobody sees.
    """

    stages: Stages
    answering: Mapping[str, Pin] = field(default_factory=dict)
    shadowing: Mapping[str, Pin] = field(default_factory=dict)
