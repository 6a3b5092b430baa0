"""What a model version is, as every room but the registry's adapter sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError

CHAMPION: Final = "champion"
"""The alias of the version that serves."""

CHALLENGER: Final = "challenger"
"""The alias of the version that a rollout tries."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NAME_MAXIMUM_LENGTH: Final = 63

MODEL_REF_PATTERN: Final = r"(?=[^@]{1,63}@)[a-z][a-z0-9]*(-[a-z0-9]+)*@[1-9][0-9]{0,8}"
"""How a version is written: ``NAME@VERSION``, the version without leading zeros."""

MODEL_REF_MAXIMUM_LENGTH: Final = _NAME_MAXIMUM_LENGTH + 10

_MODEL_REF: Final = re.compile(MODEL_REF_PATTERN)


def validate_model_name(name: str) -> str:
    """Return ``name`` if it is safe as a path segment, a label and a URL segment.

    Raises:
        InvalidInputError: Anything but lower-case words joined by single dashes, 63 characters at most.
    """
    if len(name) > _NAME_MAXIMUM_LENGTH or not _NAME.fullmatch(name):
        raise InvalidInputError(
            "model_name",
            f"must be lower-case words joined by dashes, at most {_NAME_MAXIMUM_LENGTH} characters",
        )
    return name


@dataclass(frozen=True, slots=True, order=True)
class ModelRef:
    """One version of one registered model."""

    name: str
    version: int

    def __post_init__(self) -> None:
        validate_model_name(self.name)
        if self.version < 1:
            raise InvalidInputError("version", "must be 1 or more")

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str, *, field: str = "model") -> ModelRef:
        """Read ``NAME@VERSION``, as `str` writes it.

        Args:
            text: From outside.
            field: Dotted path of the text, for the message of an error.

        Raises:
            InvalidInputError: It is anything else.
        """
        if len(text) > MODEL_REF_MAXIMUM_LENGTH or not _MODEL_REF.fullmatch(text):
            raise InvalidInputError(
                field,
                "must be NAME@VERSION, for example search-ranking@3",
            )
        name, _, version = text.partition("@")
        return cls(name, int(version))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named input or output of a model. A dimension of -1 is free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """Names, types and shapes of what goes in and what comes out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything a training run says about the artifact that it registers.

    Attributes:
        name: Registered model name.
        signature: Inputs and outputs.
        data_fingerprint: SHA-256 of the data it was trained on (`Dataset.fingerprint`).
        settings_fingerprint: SHA-256 of the training settings and the seed.
        metrics: Held-out metrics by name.
        parameters: Training settings, for people to read.
        depends_on: Versions whose artifacts this one needs to work, by role
            (a cold-start model needs the retrieval version whose embedding space it lives in).
        slot: Name of the slot that it is meant to serve in (`streamrec.contracts.slots`); None for one that
            never serves, such as a teacher.
        specification: Of the model (`ModelSpecification.to_json`); None for a version that is not to be
            judged.
        attachments: SHA-256 (hexadecimal) of the files that are kept beside the artifact, by name: the data
            that it is to be judged on.
    """

    name: str
    signature: ModelSignature
    data_fingerprint: str
    settings_fingerprint: str
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    depends_on: Mapping[str, ModelRef] = field(default_factory=lambda: MappingProxyType({}))
    slot: str | None = None
    specification: Mapping[str, Any] | None = None
    attachments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        validate_model_name(self.name)
