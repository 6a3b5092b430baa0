"""What the platform writes down: what models answered, what was shown, what users did, what proved true.

The same kinds for every spoke; what only one spoke knows travels in an `extension`. Every document names
its form in ``schema``. Fields that have a default here may be missing from a document; no other may, and
none may be unknown. Impressions and outcomes are at version 2: `streamrec.events.version_1` reads what was
written before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.event_fields import (
    Currency,
    Digest,
    Extension,
    ItemIds,
    JsonObject,
    KindName,
    Moment,
    Probability,
    Revision,
    Scores,
    Seed,
    Text,
    VersionName,
)
from streamrec.contracts.slots import ServingRole, SlotName


def _require_schema(definition: dict[str, Any]) -> None:
    # It has a default in code; in a document it tells the kinds apart.
    if "schema" in definition["properties"]:
        definition["required"].append("schema")


STRICT: Final = ConfigDict(
    extra="forbid",
    strict=True,
    allow_inf_nan=False,
    ser_json_inf_nan="constants",
    json_schema_extra=_require_schema,
)
"""No type is guessed, no field is ignored. What is not finite is written as such, so that reading refuses
it: it would else be written as null.
"""


class PropensityKind(StrEnum):
    """How the probabilities of a slate are known."""

    EXACT = "exact"
    """The answer was deterministic, or its probabilities were computed in closed form."""
    MONTE_CARLO = "monte_carlo"
    """Estimated by drawing the answer again."""
    UNKNOWN = "unknown"
    """Chance took part, and nobody has computed how much. There is no number."""


class InteractionKind(StrEnum):
    """The kinds of `Outcome` that say what a user did with an item of content.

    They are the hub's because every spoke that shows content learns from them. `Outcome.kind` is open: a
    spoke may use other words, which count as no interest in an item.
    """

    CLICK = "click"
    PLAY = "play"
    COMPLETE = "complete"
    LIKE = "like"
    DISLIKE = "dislike"
    SKIP = "skip"

    @property
    def positive(self) -> bool:
        """Whether the user wants more of the kind."""
        return self not in (InteractionKind.DISLIKE, InteractionKind.SKIP)


_KINDS: Final = {kind.value: kind for kind in InteractionKind}

FOREIGN_KINDS: Final[Mapping[str, InteractionKind]] = {
    "view": InteractionKind.CLICK,
    "watch": InteractionKind.PLAY,
    "listen": InteractionKind.PLAY,
    "finish": InteractionKind.COMPLETE,
    "completed": InteractionKind.COMPLETE,
    "buy": InteractionKind.COMPLETE,
    "purchase": InteractionKind.COMPLETE,
    "favorite": InteractionKind.LIKE,
    "favourite": InteractionKind.LIKE,
    "thumbs_up": InteractionKind.LIKE,
    "thumbs_down": InteractionKind.DISLIKE,
}
"""What other systems call our kinds, where the meaning is certain."""


def interaction_kind(word: str, more: Mapping[str, InteractionKind] | None = None) -> InteractionKind | None:
    """The kind that ``word`` names at any door: its case, blanks around it and ``-`` for ``_`` do not matter.

    ``more`` maps words of one source, in lower case, and wins over `FOREIGN_KINDS`. None: nobody knows it.
    """
    folded = word.strip().casefold().replace("-", "_").replace(" ", "_")
    return (more or {}).get(folded) or _KINDS.get(folded) or FOREIGN_KINDS.get(folded)


POSITIVE_INTERACTIONS: Final = frozenset(kind.value for kind in InteractionKind if kind.positive)
"""The kinds of outcome that are evidence of interest in an item."""


@dataclass(frozen=True, slots=True)
class Propensity:
    """How likely the slate was, given the user and the versions that answered.

    Attributes:
        kind: How that is known.
        values: Probability of each item to stand where it stands; None where it is unknown.
        draws: Number of draws of a Monte Carlo estimate; None for the other kinds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: PropensityKind
    values: tuple[Probability, ...] | None = None
    draws: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        if (self.values is None) != (self.kind is PropensityKind.UNKNOWN):
            raise InvalidInputError("propensity.values", "must be there unless the kind is 'unknown'")
        if (self.draws is None) == (self.kind is PropensityKind.MONTE_CARLO):
            raise InvalidInputError("propensity.draws", "must be there for the kind 'monte_carlo' alone")

    @classmethod
    def certain(cls, count: int) -> Propensity:
        """Return the propensity of a deterministic slate of ``count`` items."""
        return cls(PropensityKind.EXACT, (1.0,) * count)


UNKNOWN_PROPENSITY: Final = Propensity(PropensityKind.UNKNOWN)
"""Chance took part, and nobody has computed how much."""


@dataclass(frozen=True, slots=True)
class ScoredItems:
    """Items with the score of each, same length."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    item_ids: ItemIds
    scores: Scores

    def __post_init__(self) -> None:
        _check_length("candidates.scores", self.scores, self.item_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """What is known of any answer of a served model.

    Attributes:
        request_id: Identifies the request; outcomes refer to it. The platform chose it.
        unit: Who or what was answered for; the unit by which traffic is divided, often the user.
        slot: Which place in the service answered.
        role: Why this version was asked.
        version: What answered; None where no model of the slot did and a fallback stood in for it.
        predicted_at: When, by the platform's clock.
        client_request_id: What the caller calls the request, where it said so. Callers choose as they like,
            so it identifies nothing.
        traffic_revision: Of the traffic document that the request was served under; None where there was
            none.
        features: Values that the model was given, for a sample of the requests.
        candidates: All items that were scored, for a sample of the requests
            (`streamrec.contracts.units`).
        extension: What only the spoke knows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    request_id: Text
    unit: Text
    slot: SlotName
    role: ServingRole
    version: VersionName | None
    predicted_at: Moment
    client_request_id: Text | None = None
    traffic_revision: Revision | None = None
    features: JsonObject | None = None
    candidates: ScoredItems | None = None
    extension: Extension | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(ModelAnswer):
    """One answer of a model whose output is not a slate that somebody saw.

    Attributes:
        output: What it answered.
    """

    schema: Literal["streamrec.prediction.v1"] = "streamrec.prediction.v1"
    output: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Impression(ModelAnswer):
    """One slate that was shown: enough to evaluate another policy offline.

    Several slots make a slate. `slot` is the one that its order comes out of when nothing is skipped.

    Attributes:
        item_ids: The slate, first position first.
        scores: The score that ordered each item, same length.
        versions: Version by slot, of every slot that took part.
        propensity: How likely the slate was.
        seed: Of the random draw that the answer rests on; None where nothing was drawn.
        state_digest: SHA-256 of what the models knew of the unit; None where it was not recorded.
        price_revision: Of the published prices that the slate was chosen under; None where none took part.
        variants: Experiment variant by experiment.
    """

    schema: Literal["streamrec.impression.v2"] = "streamrec.impression.v2"
    item_ids: ItemIds
    scores: Scores
    versions: Mapping[SlotName, VersionName]
    propensity: Propensity
    seed: Seed | None = None
    state_digest: Digest | None = None
    price_revision: Revision | None = None
    variants: Mapping[Text, Text] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.role is ServingRole.SHADOW:
            raise InvalidInputError("role", "nobody sees the slate of a shadow: write a prediction")
        _check_length("scores", self.scores, self.item_ids)
        if self.propensity.values is not None:
            _check_length("propensity.values", self.propensity.values, self.item_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One unit met one variant of an experiment, at the moment when the variant takes effect.

    Attributes:
        unit: Who.
        experiment: Name of the experiment.
        variant: Name of the variant.
        at: When, by the platform's clock.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    unit: Text
    experiment: Text
    variant: Text
    at: Moment
    schema: Literal["streamrec.exposure.v1"] = "streamrec.exposure.v1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that a unit did, or that happened to it.

    Attributes:
        event_id: Chosen by the client; the same id twice of one unit is one event.
        unit: Who.
        item_id: With what; None where the outcome is about no single item.
        kind: What: an `InteractionKind`, or a word of the spoke's own.
        occurred_at: When, by the client's clock.
        received_at: When the platform acknowledged it.
        request_id: The answer it belongs to, if known.
        value: Seconds watched, a rating, an amount; None where the kind has none.
        currency: Of an amount of money; None for any other value.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    event_id: Text
    unit: Text
    item_id: Text | None
    kind: KindName
    occurred_at: Moment
    received_at: Moment
    request_id: Text | None = None
    value: float | None = None
    currency: Currency | None = None
    schema: Literal["streamrec.outcome.v2"] = field(default="streamrec.outcome.v2", kw_only=True)

    def __post_init__(self) -> None:
        if self.currency is not None and self.value is None:
            raise InvalidInputError("currency", "needs a value that it is the currency of")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A truth that is known later than the answer that it judges.

    Attributes:
        subject: What it is about: an item, a unit, a request.
        name: Which truth, for example ``violates_policy``.
        value: What is true.
        at: The time that it is true of.
        received_at: When the platform heard of it. Of two labels that contradict, the later one corrects.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    subject: Text
    name: KindName
    value: bool | float | str
    at: Moment
    received_at: Moment
    schema: Literal["streamrec.label.v1"] = "streamrec.label.v1"


def _check_length(name: str, values: tuple[Any, ...], item_ids: tuple[str, ...]) -> None:
    if len(values) != len(item_ids):
        raise InvalidInputError(name, f"has {len(values)} entries for {len(item_ids)} items")
