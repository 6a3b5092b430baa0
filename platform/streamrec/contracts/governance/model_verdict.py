"""The verdict by which a version may serve: over exactly these files, on this evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.json_documents import (
    NO_CONTROL_CHARACTERS,
    STRICT,
    ModelRefText,
    UtcTime,
    document_json,
    read_document,
)
from streamrec.contracts.ledger_entry import Digest, Name, ReasonText
from streamrec.contracts.results import Verdict
from streamrec.contracts.specification.gate_names import GateName

MODEL_VERDICT_SCHEMA: Final = "streamrec.model_verdict.v1"
MAXIMUM_FILES: Final = 10_000

OVERRIDABLE: Final = frozenset({GateName.FAIRNESS})
"""Gates whose finding somebody may answer for. Nobody can answer for files that are not what they say."""


class Basis(StrEnum):
    """On what a verdict rests."""

    GATES = "gates"
    """Every gate passed, or somebody answers for the one that did not."""
    BREAK_GLASS = "break_glass"
    """The platform role let it serve without."""


@dataclass(frozen=True, slots=True)
class VerdictFile:
    """One file of the artifact.

    Attributes:
        path: Relative to its folder.
        size_bytes: Its size.
        sha256: Of its content.
    """

    __pydantic_config__ = STRICT

    path: Annotated[str, Field(min_length=1, max_length=1_000, pattern=NO_CONTROL_CHARACTERS)]
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


@dataclass(frozen=True, slots=True)
class GateFinding:
    """What one gate said.

    Attributes:
        verdict: How it ended.
        evidence_digest: SHA-256 of its whole result, canonical JSON.
    """

    __pydantic_config__ = STRICT

    verdict: Verdict
    evidence_digest: Digest


@dataclass(frozen=True, slots=True)
class OverrideInForce:
    """Somebody answers for a gate that did not pass.

    Attributes:
        gate: Which.
        by: Who, in the role responsible-ai.
        until: When it ends.
    """

    __pydantic_config__ = STRICT

    gate: GateName
    by: Name
    until: UtcTime


@dataclass(frozen=True, slots=True)
class Revocation:
    """The verdict counts no longer.

    Attributes:
        at: Since when.
        by: Who revoked it.
        reason: Why.
    """

    __pydantic_config__ = STRICT

    at: UtcTime
    by: Name
    reason: ReasonText


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVerdict:
    """What is signed.

    Attributes:
        schema: The format.
        model: The version.
        artifact_digest: SHA-256 of the manifest of exactly ``files``.
        version_digest: SHA-256 of what the registry said of the version: its slot, what it depends on,
            its signature and specification.
        files: Every file of the artifact, sorted by path.
        specification_digest: SHA-256 of the specification that was judged by; None where it was not judged.
        basis: On what it rests.
        gates: What each gate said.
        overrides: Who answers for a gate that did not pass.
        champion: What it was compared with; None where nothing served.
        isolation: By what each thing was kept from the processes in which the version ran.
        isolation_waived: Whether the platform's setting allowed gates without isolation.
        at: When it was signed.
        revoked: Since when it counts no longer; None while it does.
    """

    __pydantic_config__ = STRICT

    schema: Literal["streamrec.model_verdict.v1"] = field(default=MODEL_VERDICT_SCHEMA)
    model: ModelRefText
    artifact_digest: Digest
    version_digest: Digest
    files: Annotated[tuple[VerdictFile, ...], Field(min_length=1, max_length=MAXIMUM_FILES)]
    specification_digest: Digest | None
    basis: Basis
    gates: Annotated[Mapping[GateName, GateFinding], Field(max_length=len(GateName))]
    overrides: Annotated[tuple[OverrideInForce, ...], Field(max_length=len(GateName))]
    champion: ModelRefText | None
    isolation: Annotated[
        Mapping[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=256)]],
        Field(max_length=16),
    ]
    isolation_waived: bool
    at: UtcTime
    revoked: Revocation | None = None

    def __post_init__(self) -> None:
        if self.basis is Basis.BREAK_GLASS:
            return
        if self.specification_digest is None:
            raise InvalidInputError("specification_digest", "must say by which specification gates judged")
        answered_for = {override.gate for override in self.overrides}
        for gate in GateName:
            finding = self.gates.get(gate)
            if finding is None:
                raise InvalidInputError(f"gates.{gate}", "must be there: every gate has its say")
            if finding.verdict is not Verdict.PASSED and gate not in answered_for & OVERRIDABLE:
                raise InvalidInputError(f"gates.{gate}", f"is {finding.verdict}, and nothing allows that")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, in the order of the fields."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ModelVerdict:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing, unknown or wrong, or a gate did not pass and nobody answers
                for it.
        """
        return read_document(cls, document)
