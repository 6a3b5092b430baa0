"""All gates of one version together: the report that is kept, and that a verdict is signed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import MAXIMUM_REASONS, Reason, Result, Verdict, combined
from streamrec.contracts.specification.gate_names import GateName
from streamrec.gates.gate_results import GATE_SCHEMA, evidence_digest, gate_of, reason
from streamrec.gates.runner import Enforcement, Isolation

GATES_SCHEMA: Final = "streamrec.gates.v1"


@dataclass(frozen=True, slots=True)
class GatesReport:
    """What the gates found.

    Attributes:
        subject: The version, ``NAME@VERSION``, or the folder of one that is not registered.
        at: When they ran.
        specification_digest: SHA-256 of the specification that they judged by.
        artifact_digest: SHA-256 of the manifest of the files; None where it is not registered.
        champion: The version that it was compared with; None where none serves.
        data_set: Which data it was judged on; empty where that has no name.
        isolation: How the processes were isolated in which the version ran; the weakest of all of them.
        isolation_waived: The platform's setting allows gates without isolation.
        results: One for each gate, in their order.
    """

    subject: str
    at: datetime
    specification_digest: str
    artifact_digest: str | None
    champion: str | None
    data_set: str
    isolation: Enforcement
    isolation_waived: bool
    results: tuple[Result, ...]

    @property
    def verdict(self) -> Verdict:
        """Passed only if every gate there is passed, in isolation; a gate that did not run has not passed."""
        return self.result.verdict

    @property
    def evidence_digests(self) -> Mapping[GateName, str]:
        """SHA-256 of each gate's whole result."""
        return {gate_of(result): evidence_digest(result) for result in self.results}

    @property
    def result(self) -> Result:
        """All of it as one result, with the reasons of every gate that did not pass."""
        verdicts = [result.verdict for result in self.results]
        reasons = [
            _of_gate(found, gate_of(result))
            for result in self.results
            if result.verdict is not Verdict.PASSED
            for found in result.reasons
        ]
        missing = [name for name in GateName if name not in {gate_of(result) for result in self.results}]
        if missing:
            verdicts.append(Verdict.INCONCLUSIVE)
            names = ", ".join(missing)
            reasons.append(reason("gate_not_run", "gates", f"not run: {names}"))
        if not self.isolation.isolated and not self.isolation_waived:
            verdicts.append(Verdict.INCONCLUSIVE)
            reasons.append(
                reason(
                    "isolation_not_enforced",
                    "isolation",
                    "this machine does not isolate what gates run (network: "
                    f"{self.isolation.network}, memory: {self.isolation.memory}). Run them where the kernel "
                    "has user namespaces or seccomp, or let the platform role allow it: see the runbook",
                )
            )
        return Result(GATES_SCHEMA, combined(verdicts), tuple(reasons[:MAXIMUM_REASONS]), self._content())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: the envelope, then everything else."""
        return self.result.to_json()

    def _content(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "specification_digest": self.specification_digest,
            "artifact_digest": self.artifact_digest,
            "champion": self.champion,
            "data_set": self.data_set,
            "isolation": self.isolation.to_json(),
            "isolation_waived": self.isolation_waived,
            "gates": [result.to_json() for result in self.results],
            "evidence_digests": {name.value: digest for name, digest in self.evidence_digests.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> GatesReport:
        """Read what `to_json` wrote.

        Raises:
            InvalidInputError: A field is missing or wrong, or contradicts what the gates say.
        """
        try:
            results = tuple(Result.from_json(gate, schema=GATE_SCHEMA) for gate in document["gates"])
            read = cls(
                subject=str(document["subject"]),
                at=datetime.fromisoformat(document["at"]),
                specification_digest=str(document["specification_digest"]),
                artifact_digest=_text_or_none(document["artifact_digest"]),
                champion=_text_or_none(document["champion"]),
                data_set=str(document["data_set"]),
                isolation=Enforcement(
                    **{name: Isolation(value) for name, value in document["isolation"].items()}
                ),
                isolation_waived=document["isolation_waived"] is True,
                results=results,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError("gates", f"must be a report of gates ({error})") from error
        if read.to_json() != dict(document):
            raise InvalidInputError("gates", "must be as the gates wrote it: its parts contradict each other")
        return read


def _of_gate(found: Reason, gate: GateName) -> Reason:
    path = f"{gate}.{found.path}" if found.path and not found.path.startswith(f"{gate}.") else found.path
    return reason(found.code, path or gate.value, found.message)


def _text_or_none(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} must be text or null")
    return value
