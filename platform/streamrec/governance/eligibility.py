"""Whether a version may be promoted: a pure function of what the ledger says about it, and of the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from streamrec.contracts.governance.model_verdict import Basis
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.gate_names import GateName
from streamrec.governance.judgement import Judgement, few
from streamrec.governance.overrides import Override, in_force, overrides_of
from streamrec.governance.records import Recorded


class Standing(StrEnum):
    """Where a version stands."""

    UNJUDGED = "not judged"
    BLOCKED = "blocked"
    AWAITING_REVIEW = "awaiting review"
    REJECTED = "rejected"
    OVERRIDE_ENDED = "override ended"
    REVOKED = "revoked"
    BREAK_GLASS = "break-glass"
    ELIGIBLE = "eligible"


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What a version may do, and why.

    Attributes:
        ref: The version.
        standing: Only `Standing.ELIGIBLE` is promoted without breaking glass.
        why: In words, one after the other.
        way_back: What to do next; empty where nothing is to be done.
        authors: Who registered it or asked for it: none of them may review it.
        judgement: What gates found last; None where they never ran.
        basis: On what the verdict in force rests; None where there is none.
        verdict_number: Of the ledger entry by which it was signed; None where there is none.
        approved_by: Who agreed with that verdict.
        overrides: By whom a gate is answered for now.
    """

    ref: ModelRef
    standing: Standing
    why: tuple[str, ...]
    way_back: str
    authors: frozenset[str]
    judgement: Judgement | None
    basis: Basis | None
    verdict_number: int | None
    approved_by: tuple[str, ...]
    overrides: tuple[Override, ...]

    @property
    def marks(self) -> tuple[str, ...]:
        """What has to be shown wherever the version shows."""
        glass = ("break-glass",) if self.basis is Basis.BREAK_GLASS else ()
        return (*glass, *(override.words for override in self.overrides))

    @property
    def in_short(self) -> str:
        """Why, in one line: the first reasons, and how many more there are."""
        return few(self.why)

    @property
    def eligible(self) -> bool:
        """Whether it may be promoted."""
        return self.standing is Standing.ELIGIBLE


def eligibility(ref: ModelRef, records: Iterable[Recorded], now: datetime) -> Eligibility:
    """Derive where a version stands.

    Args:
        ref: The version.
        records: Its entries, oldest first; others are left out.
        now: Overrides end by it.
    """
    own = [record for record in records if record.entry.subject == str(ref)]
    judged = _last(own, EntryKind.GATES_JUDGED)
    signed = _last(own, EntryKind.VERDICT_SIGNED)
    judgement = None if judged is None else Judgement.from_json(judged.evidence["judgement"])
    overrides = in_force(overrides_of(own), now)
    state = _State(ref, own, judged, judgement, signed, overrides)
    standing, why, way_back = state.standing()
    return Eligibility(
        ref,
        standing,
        why,
        way_back,
        authors_of(own),
        judgement,
        None if signed is None else Basis(signed.evidence["basis"]),
        None if signed is None else signed.entry.seq,
        state.approved_by,
        overrides,
    )


def authors_of(records: Iterable[Recorded]) -> frozenset[str]:
    """Who registered a version, or asked for it to be deployed."""
    asked = (EntryKind.MODEL_REGISTERED, EntryKind.GATES_JUDGED, EntryKind.REVIEW_REQUESTED)
    return frozenset(record.entry.actor for record in records if record.entry.kind in asked)


@dataclass(frozen=True, slots=True)
class _State:
    ref: ModelRef
    own: Sequence[Recorded]
    judged: Recorded | None
    judgement: Judgement | None
    signed: Recorded | None
    overrides: tuple[Override, ...]

    def standing(self) -> tuple[Standing, tuple[str, ...], str]:
        again = f"mend it, register it as a new version, and ask again: streamrec models deploy {self.ref}"
        ask = f"streamrec models deploy {self.ref} --reason ..."
        if self.signed is None:
            if self.judgement is None:
                return Standing.UNJUDGED, ("no gate has judged it",), ask
            return Standing.BLOCKED, _messages(self.judgement), again
        revoked = _last(self.own, EntryKind.VERDICT_REVOKED)
        if revoked is not None and revoked.entry.seq > self.signed.entry.seq:
            why = f"its verdict was revoked by {revoked.entry.actor}: {revoked.entry.reason}"
            return Standing.REVOKED, (why,), ask
        if self.judged is not None and self.judged.entry.seq > self.signed.entry.seq and self.judgement:
            return Standing.BLOCKED, _messages(self.judgement), again
        if self.signed.evidence["basis"] == Basis.BREAK_GLASS:
            entry = self.signed.entry
            return Standing.BREAK_GLASS, (f"{entry.actor} broke the glass: {entry.reason}",), ask
        if self.judgement is None:
            return Standing.UNJUDGED, ("the ledger holds a verdict, and no judgement that it rests on",), ask
        return self._with_people(self.signed, self.judgement, ask)

    def _with_people(
        self, signed: Recorded, judgement: Judgement, ask: str
    ) -> tuple[Standing, tuple[str, ...], str]:
        answered = {override.gate for override in self.overrides}
        lost = [gate for gate in signed.evidence["overrides"] if GateName(gate) not in answered]
        if lost:
            why = f"nobody answers for {', '.join(lost)} any more"
            return Standing.OVERRIDE_ENDED, (why,), f"a version that passes, or another override; then {ask}"
        rejected = next(
            (record.entry for record in self._reviews() if record.entry.kind is EntryKind.REVIEW_REJECTED),
            None,
        )
        if rejected is not None:
            why = f"{rejected.actor} rejected it: {rejected.reason}"
            return Standing.REJECTED, (why,), f"answer the reason; then {ask}"
        missing = judgement.review.approvals - len(self.approved_by)
        if missing > 0:
            roles = " or ".join(judgement.review.roles)
            why = f"{missing} more approval{'s' if missing > 1 else ''} by {roles}, not by its author"
            return Standing.AWAITING_REVIEW, (why,), f"streamrec reviews approve {self.ref} --reason ..."
        return Standing.ELIGIBLE, (), f"streamrec rollouts start {self.ref} --reason ..."

    @property
    def approved_by(self) -> tuple[str, ...]:
        """Different people who agreed with the verdict in force, none of them an author."""
        if self.judgement is None:
            return ()
        authors, roles = authors_of(self.own), self.judgement.review.roles
        return tuple(
            dict.fromkeys(
                record.entry.actor
                for record in self._reviews()
                if record.entry.kind is EntryKind.REVIEW_APPROVED
                and record.entry.role in roles
                and record.entry.actor not in authors
            )
        )

    def _reviews(self) -> list[Recorded]:
        """Those of the verdict in force: an older one was about other evidence."""
        signed = self.signed
        return [
            record
            for record in self.own
            if signed is not None
            and record.entry.kind in (EntryKind.REVIEW_APPROVED, EntryKind.REVIEW_REJECTED)
            and record.evidence["verdict"] == signed.entry.seq
        ]


def _last(records: Sequence[Recorded], kind: EntryKind) -> Recorded | None:
    return next((record for record in reversed(records) if record.entry.kind is kind), None)


def _messages(judgement: Judgement) -> tuple[str, ...]:
    return tuple(f"{reason.path}: {reason.message}" for reason in judgement.reasons) or (
        f"the verdict of its gates is {judgement.verdict}",
    )
