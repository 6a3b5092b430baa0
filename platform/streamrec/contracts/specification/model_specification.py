"""The model specification: `model.yaml`, in which a spoke says what its model is and how it is judged.

Ten lines are enough; everything else has a default that a new spoke can live with:

    name: ads-clicks
    owner: ads
    slot: ads.clicks
    task: classification
    predictor: services.ads.click_predictor:load
    evaluation:
      requests: evaluation.parquet
    quality: {floor: 0.65}
    fairness:
      attributes: [country]

It stays with the registered version, and the signed verdict names its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from streamrec.contracts.canonical_json import canonical_json
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import STRICT, UtcTime, document_json, json_schema, read_document
from streamrec.contracts.slots import SlotName
from streamrec.contracts.specification.fairness_policy import FairnessPolicy
from streamrec.contracts.specification.fields import (
    FUNCTION_PATTERN,
    AttributeName,
    FunctionName,
    MetricName,
    RelativePath,
    ShortText,
    TeamName,
    inside_the_folder,
)
from streamrec.contracts.specification.operating_policy import (
    ArtifactLimits,
    LatencyLimits,
    MonitoringPolicy,
    ReviewPolicy,
    TrainingPolicy,
)
from streamrec.contracts.specification.quality_policy import (
    METRICS_OF_TASK,
    QualityMetric,
    QualityPolicy,
    SkewPolicy,
    Task,
)
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.contracts.specification.safe_yaml import parse_yaml

MODEL_SPECIFICATION_SCHEMA: Final = "streamrec.model_specification.v1"
SPECIFICATION_FILE: Final = "model.yaml"

_ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=63)]
_REQUESTS: Final = rf"^({FUNCTION_PATTERN}|[^:]+\.(parquet|csv))$"


def _file_or_function(text: str) -> str:
    return text if ":" in text else inside_the_folder(text)


class TimeOrder(StrEnum):
    """How training and validation follow each other."""

    TIME = "time"
    """All of training is older than all of validation."""
    UNIT = "unit"
    """Of each unit, what it is trained on is older than what it is judged on: its last rows are held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The data that a version is judged on.

    Attributes:
        requests: A Parquet or CSV file in the model's folder, or ``module:function`` that makes the table of
            a data folder. Columns: request_id, unit, at, split (``train`` or ``validation``), label or
            relevant, ``group.ATTRIBUTE`` for every attribute, and whatever the predictor reads.
        training_rows: A file in the model's folder with the rows that it was trained on, in the same
            columns, where the table itself does not hold them.
        order: What lies before what: all of training before all of validation, or each unit's own rows alone.
        validation_from: Validation begins here: an earlier row in it is refused. None: where the table says.
        maximum_requests: So many of the validation split are taken, the newest; the others are left out.
    """

    __pydantic_config__ = STRICT

    requests: Annotated[str, Field(pattern=_REQUESTS, max_length=200), AfterValidator(_file_or_function)]
    training_rows: RelativePath | None = None
    order: TimeOrder = TimeOrder.TIME
    validation_from: UtcTime | None = None
    maximum_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000

    @property
    def is_function(self) -> bool:
        """Whether ``requests`` names a function; else it is a file."""
        return ":" in self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetRules:
    """Which people a data set tells apart.

    Attributes:
        fairness: The policy; None where the data set says nothing about people.
        no_sensitive_attributes: Why there is no policy; empty where there is one.
    """

    __pydantic_config__ = STRICT

    fairness: FairnessPolicy | None = None
    no_sensitive_attributes: ShortText = ""

    def __post_init__(self) -> None:
        _check_one_of(self.fairness, self.no_sensitive_attributes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpecification:
    """A model, as the spoke that owns it describes it.

    Attributes:
        schema: The format.
        name: Of the registered model.
        owner: The team.
        slot: Where its versions serve.
        task: What it answers.
        predictor: ``module:function`` that loads a version's artifact and answers requests.
        evaluation: The data that it is judged on.
        unit: What a version is assigned to: ``user``, or the name of what callers send in the unit header.
        needs: Other models that answer before it, by role, such as ``candidates: shop-retrieval``: the
            predictor is handed their artifacts. Of each the newest version that was registered before it,
            unless it depends on one under that role.
        feature_service: Of the feature store; None where requests bring all features.
        fairness: The policy over sensitive attributes; None where `no_sensitive_attributes` says why.
        no_sensitive_attributes: Why there is no policy.
        data_sets: What holds for one data set instead, by its name.
        quality, skew, latency, artifact: Limits of the gates.
        outcome_metric: Name of the business metric that a rollout watches; None: none yet.
        rollout: The plan.
        review: Who must agree.
        training: How a new version is trained; None where that is the spoke's own affair.
        monitoring: What is watched while it serves.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.model_specification.v1"] = MODEL_SPECIFICATION_SCHEMA
    name: _ModelName
    owner: TeamName
    slot: SlotName
    task: Task
    predictor: FunctionName
    evaluation: Evaluation
    unit: AttributeName = "user"
    needs: Annotated[Mapping[AttributeName, _ModelName], Field(max_length=8)] = field(default_factory=dict)
    feature_service: MetricName | None = None
    fairness: FairnessPolicy | None = None
    no_sensitive_attributes: ShortText = ""
    data_sets: Annotated[Mapping[AttributeName, DataSetRules], Field(max_length=20)] = field(
        default_factory=dict
    )
    quality: QualityPolicy = field(default_factory=QualityPolicy)
    skew: SkewPolicy = field(default_factory=SkewPolicy)
    latency: LatencyLimits = field(default_factory=LatencyLimits)
    artifact: ArtifactLimits = field(default_factory=ArtifactLimits)
    outcome_metric: MetricName | None = None
    rollout: RolloutPlan = field(default_factory=RolloutPlan)
    review: ReviewPolicy = field(default_factory=ReviewPolicy)
    training: TrainingPolicy | None = None
    monitoring: MonitoringPolicy = field(default_factory=MonitoringPolicy)

    def __post_init__(self) -> None:
        if not self.data_sets or self.fairness is not None or self.no_sensitive_attributes:
            _check_one_of(self.fairness, self.no_sensitive_attributes)
        metric = self.quality.metric
        if metric is not None and metric not in METRICS_OF_TASK[self.task]:
            names = ", ".join(METRICS_OF_TASK[self.task])
            raise InvalidInputError("quality.metric", f"must be one that fits {self.task}: {names}")

    @property
    def quality_metric(self) -> QualityMetric:
        """The figure that versions are compared by."""
        return self.quality.metric or METRICS_OF_TASK[self.task][0]

    def people(self, data_set: str | None = None) -> DataSetRules:
        """Which people are told apart in a data set.

        Args:
            data_set: Its name; None, or one that the specification does not name: what holds everywhere else.

        Raises:
            InvalidInputError: The specification says nothing of this data set.
        """
        if data_set is not None and data_set in self.data_sets:
            return self.data_sets[data_set]
        if self.fairness is None and not self.no_sensitive_attributes:
            known = ", ".join(sorted(self.data_sets))
            raise InvalidInputError("data_sets", f"must say what holds for {data_set!r}; it knows {known}")
        return DataSetRules(fairness=self.fairness, no_sensitive_attributes=self.no_sensitive_attributes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, defaults included."""
        return document_json(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, hexadecimal."""
        return specification_digest(self.to_json())

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ModelSpecification:
        """Read plain JSON values, such as `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or wrong; ``field`` is its dotted path.
        """
        try:
            if isinstance(document, Mapping):
                _check_parts(document)
            return read_document(cls, document)
        except InvalidInputError as error:
            raise InvalidInputError(error.field, error.problem + _remedy(error)) from error

    @classmethod
    def from_yaml(cls, content: bytes) -> ModelSpecification:
        """Read a `model.yaml`.

        Raises:
            InvalidInputError: As in `parse_yaml` and `from_json`.
        """
        return cls.from_json(parse_yaml(content))


def specification_digest(document: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a specification's JSON values, as they are kept with a version."""
    return hashlib.sha256(canonical_json(document)).hexdigest()


def _check_one_of(fairness: FairnessPolicy | None, reason: str) -> None:
    if (fairness is None) == (not reason.strip()):
        raise InvalidInputError(
            "fairness",
            "must hold the policy, or no_sensitive_attributes a reason why there is none: one of the two",
        )


_PARTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "evaluation": Evaluation,
        "fairness": FairnessPolicy,
        "quality": QualityPolicy,
        "skew": SkewPolicy,
        "latency": LatencyLimits,
        "artifact": ArtifactLimits,
        "rollout": RolloutPlan,
        "review": ReviewPolicy,
        "training": TrainingPolicy,
        "monitoring": MonitoringPolicy,
    }
)


def _check_parts(document: Mapping[str, Any]) -> None:
    """Read every part by itself first: what a part refuses about itself is then named by its whole path."""
    for name, kind in _PARTS.items():
        if isinstance(document.get(name), Mapping):
            read_document(kind, document[name], path=name)
    data_sets = document.get("data_sets")
    for name, rules in data_sets.items() if isinstance(data_sets, Mapping) else ():
        if isinstance(rules, Mapping):
            if isinstance(rules.get("fairness"), Mapping):
                read_document(FairnessPolicy, rules["fairness"], path=f"data_sets.{name}.fairness")
            read_document(DataSetRules, rules, path=f"data_sets.{name}")


def _remedy(error: InvalidInputError) -> str:
    """What was probably meant by an unknown field."""
    if error.problem != "is not a field of this document":
        return ""
    close = get_close_matches(error.field.rpartition(".")[2], _field_names(), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; leave it out"


@lru_cache(maxsize=1)
def _field_names() -> tuple[str, ...]:
    schema = json_schema(ModelSpecification)
    parts = (schema, *schema.get("$defs", {}).values())
    return tuple(sorted({name for part in parts for name in part.get("properties", {})}))
