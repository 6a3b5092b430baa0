"""What every gate answers: the common result, with the gate's name, what it judged, and its evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from streamrec.contracts.canonical_json import canonical_json, one_line
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.results import MAXIMUM_MESSAGE_CHARACTERS, Reason, Result, Verdict
from streamrec.contracts.specification.gate_names import GateName

GATE_SCHEMA: Final = "streamrec.gate.v1"


def gate_result(
    gate: GateName,
    subject: str,
    evidence: Mapping[str, Any],
    *,
    failed: Iterable[Reason] = (),
    inconclusive: Iterable[Reason] = (),
    noted: Iterable[Reason] = (),
) -> Result:
    """Make a gate's result: failed where anything failed, else inconclusive where anything is, else passed.

    Args:
        gate: Which one.
        subject: What was judged: ``NAME@VERSION``, or the folder of a version that is not registered.
        evidence: Everything that was decided by, plain JSON values.
        failed: What must not be; each is a reason of its own.
        inconclusive: What could not be decided, and what it takes.
        noted: What else was found; never changes the verdict.
    """
    bad, open_questions, notes = tuple(failed), tuple(inconclusive), tuple(noted)
    verdict = Verdict.FAILED if bad else Verdict.INCONCLUSIVE if open_questions else Verdict.PASSED
    return Result(
        GATE_SCHEMA,
        verdict,
        (*bad, *open_questions, *notes),
        {"gate": gate.value, "subject": subject, "evidence": evidence},
    )


def gate_error(
    gate: GateName, subject: str, problem: str, evidence: Mapping[str, Any] | None = None
) -> Result:
    """The result of a gate that could not be run to its end."""
    return Result(
        GATE_SCHEMA,
        Verdict.ERROR,
        (reason("gate_not_run", "", problem),),
        {"gate": gate.value, "subject": subject, "evidence": dict(evidence or {})},
    )


def gate_of(result: Result) -> GateName:
    """Which gate a result is of.

    Raises:
        InvalidInputError: It is of none.
    """
    name = result.content.get("gate")
    if result.schema != GATE_SCHEMA or name not in tuple(GateName):
        raise InvalidInputError("gate", "must be the result of a gate")
    return GateName(name)


def evidence_digest(result: Result) -> str:
    """SHA-256 (hexadecimal) of the whole result in canonical form: verdict, reasons and evidence."""
    return hashlib.sha256(canonical_json(result.to_json())).hexdigest()


def reason(code: str, path: str, message: str) -> Reason:
    """A reason whose message may hold text from outside: one line, and no longer than a reason may be."""
    text = one_line(" ".join(message.split()))
    if len(text) > MAXIMUM_MESSAGE_CHARACTERS:
        text = text[: MAXIMUM_MESSAGE_CHARACTERS - 3] + "..."
    return Reason(code, one_line(path)[:MAXIMUM_MESSAGE_CHARACTERS], text or "nothing was said")
