"""What gates found about a version, as the ledger keeps it and a verdict is signed over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import Field

from streamrec.contracts.governance.model_verdict import OVERRIDABLE, GateFinding
from streamrec.contracts.json_documents import STRICT, ModelRefText, document_json, read_document
from streamrec.contracts.ledger_entry import Digest
from streamrec.contracts.results import Reason, Verdict
from streamrec.contracts.specification.gate_names import GateName
from streamrec.contracts.specification.operating_policy import ReviewPolicy
from streamrec.gates.gates_report import GatesReport
from streamrec.gates.runner import Enforcement, Isolation

MAXIMUM_REASONS: Final = 50
"""Kept in the ledger; the report at the registry has all of them."""

_FEW: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What gates found.

    Attributes:
        model: The version.
        slot: Where it is meant to serve.
        owner: The team that answers for it.
        artifact_digest: Of the files that were judged.
        specification_digest: Of the specification that they were judged by.
        champion: What it was compared with; None where nothing served: then absolute floors decided.
        data_set: On which data; empty where that has no name.
        verdict: Of all gates together, isolation included.
        gates: What each gate said.
        reasons: Why it did not pass, and what else was found.
        isolation: By what each thing was kept from the processes in which it ran.
        isolation_waived: Whether the platform's setting allowed gates without isolation.
        review: Who has to agree.
    """

    __pydantic_config__ = STRICT

    model: ModelRefText
    slot: str
    owner: str
    artifact_digest: Digest
    specification_digest: Digest
    champion: ModelRefText | None
    data_set: str
    verdict: Verdict
    gates: Mapping[GateName, GateFinding]
    reasons: Annotated[tuple[Reason, ...], Field(max_length=MAXIMUM_REASONS)]
    isolation: Mapping[str, str]
    isolation_waived: bool
    review: ReviewPolicy = field(default_factory=ReviewPolicy)

    @property
    def not_passed(self) -> tuple[GateName, ...]:
        """The gates that did not pass, in their order."""
        return tuple(
            gate
            for gate in GateName
            if gate not in self.gates or self.gates[gate].verdict is not Verdict.PASSED
        )

    def passes(self, answered_for: Iterable[GateName] = ()) -> bool:
        """Whether it may be signed.

        Args:
            answered_for: Gates for which somebody answers.
        """
        if self.verdict is Verdict.PASSED:
            return True
        missing = set(self.not_passed)
        isolated = self.isolation_waived or _isolated(self.isolation)
        return bool(missing) and isolated and missing <= set(answered_for) & OVERRIDABLE

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return document_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Judgement:
        """Read what `to_json` wrote. Raises `InvalidInputError`."""
        return read_document(cls, document)

    @classmethod
    def of(
        cls, report: GatesReport, *, slot: str, owner: str, artifact_digest: str, review: ReviewPolicy
    ) -> Judgement:
        """What a report says, beside what the specification says of the model.

        Raises:
            InvalidInputError: The report is not of a registered version.
        """
        result = report.result
        return cls.from_json(
            {
                "model": report.subject,
                "slot": slot,
                "owner": owner,
                "artifact_digest": artifact_digest,
                "specification_digest": report.specification_digest,
                "champion": report.champion,
                "data_set": report.data_set,
                "verdict": result.verdict.value,
                "gates": {
                    found.content["gate"]: {
                        "verdict": found.verdict.value,
                        "evidence_digest": report.evidence_digests[GateName(found.content["gate"])],
                    }
                    for found in report.results
                },
                "reasons": [reason.to_json() for reason in result.reasons[:MAXIMUM_REASONS]],
                "isolation": report.isolation.to_json(),
                "isolation_waived": report.isolation_waived,
                "review": document_json(review),
            }
        )


def few(messages: Sequence[str]) -> str:
    """The first messages in one line, and how many more there are: a report has all of them."""
    more = len(messages) - _FEW
    return "; ".join(messages[:_FEW]) + (f"; and {more} more, which the report has" if more > 0 else "")


def _isolated(isolation: Mapping[str, str]) -> bool:
    return Enforcement(**{name: Isolation(value) for name, value in isolation.items()}).isolated
