"""What people decide about versions: reviews, overrides, remediation plans. Never about their own work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from streamrec.contracts.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.contracts.models import ModelRef
from streamrec.contracts.specification.gate_names import GateName
from streamrec.governance.deployment import Actor
from streamrec.governance.desk import Desk, check_second_pair_of_eyes
from streamrec.governance.eligibility import Eligibility, Standing, eligibility
from streamrec.governance.overrides import KINDS as OVERRIDE_KINDS
from streamrec.governance.overrides import check_grant, ended, granted, overrides_of
from streamrec.governance.records import read_records
from streamrec.governance.remediations import KINDS as REMEDIATION_KINDS
from streamrec.governance.remediations import Remediation, remediations_of


@dataclass(frozen=True, slots=True)
class Review:
    """One that waits.

    Attributes:
        found: Where the version stands.
        asked_at, asked_by, reason: When it was asked for, by whom and why.
    """

    found: Eligibility
    asked_at: datetime
    asked_by: str
    reason: str


def waiting_reviews(desk: Desk) -> list[Review]:
    """The versions that wait for somebody to agree, the oldest first.

    Raises:
        ArtifactError, TemporaryError: See `read_records`.
    """
    asked = {
        entry.subject: entry for entry in desk.ledger.entries(kinds=(EntryKind.REVIEW_REQUESTED,))
    }  # the newest of each version
    now = desk.clock()
    reviews = []
    for subject, entry in asked.items():
        found = eligibility(ModelRef.parse(subject), read_records(desk.ledger, subject=subject), now)
        if found.standing is Standing.AWAITING_REVIEW:
            reviews.append(Review(found, entry.at, entry.actor, entry.reason))
    return sorted(reviews, key=lambda review: review.asked_at)


def review(desk: Desk, actor: Actor, ref: ModelRef, *, approve: bool) -> Eligibility:
    """Agree with a version's verdict, or reject it.

    Raises:
        InvalidInputError: It does not wait for a review, there is no reason, or they agreed before.
        PermissionDeniedError: They are its author, have no token, or not the role that its specification
            asks for.
        TemporaryError: The ledger cannot be written.
    """
    found = desk.eligibility(ref)
    deed = "approve" if approve else "reject"
    if found.standing is not Standing.AWAITING_REVIEW or found.judgement is None:
        raise InvalidInputError("model", f"{ref} waits for no review: it is {found.standing}")
    check_second_pair_of_eyes(actor.identity, found, f"{deed} it")
    if not actor.reason.strip():
        raise InvalidInputError("reason", "must say what was looked at")
    wanted = found.judgement.review.roles
    held = [role for role in wanted if role in actor.identity.roles]
    if not held:
        raise PermissionDeniedError(
            f"{ref} is reviewed by {' or '.join(wanted)}; {actor.identity.actor} is none of them"
        )
    if approve and actor.identity.actor in found.approved_by:
        raise InvalidInputError(
            "model", f"{actor.identity.actor} approved {ref} before: another person has to"
        )
    kind = EntryKind.REVIEW_APPROVED if approve else EntryKind.REVIEW_REJECTED
    acting = Actor(actor.identity, held[0], actor.reason)
    desk.ledger.append(acting.decides(kind, ref, {"verdict": found.verdict_number}))
    return desk.eligibility(ref)


def grant_override(desk: Desk, actor: Actor, ref: ModelRef, gate: GateName, until: datetime) -> Eligibility:
    """Answer for a gate that did not pass; the next deployment signs a verdict that says so.

    Raises:
        InvalidInputError: See `check_grant`; or gates have not judged the version, or passed it.
        PermissionDeniedError: They are its author, or have no token.
        TemporaryError: The ledger cannot be written.
    """
    check_grant(gate, actor.reason, until, desk.clock())
    found = desk.eligibility(ref)
    if found.judgement is None or gate not in found.judgement.not_passed:
        raise InvalidInputError(
            "model", f"the {gate} gate has nothing against {ref}: there is nothing to answer for"
        )
    check_second_pair_of_eyes(actor.identity, found, "answer for it")
    desk.ledger.append(actor.decides(EntryKind.OVERRIDE_GRANTED, ref, granted(ref, gate, until)))
    return desk.eligibility(ref)


def end_override(desk: Desk, actor: Actor, number: int) -> Eligibility:
    """End an override before its time.

    Raises:
        NotFoundError: There is none of that number in force.
        TemporaryError: The ledger cannot be written.
    """
    for override in overrides_of(read_records(desk.ledger, kinds=OVERRIDE_KINDS)):
        if override.number == number and override.in_force(desk.clock()):
            desk.ledger.append(actor.decides(EntryKind.OVERRIDE_ENDED, override.model, ended(override)))
            return desk.eligibility(ModelRef.parse(override.model))
    raise NotFoundError(f"no override {number} is in force: 'streamrec overrides list' shows them")


def close_remediation(desk: Desk, actor: Actor, number: int) -> Remediation:
    """Close a plan, saying what came of it.

    Raises:
        NotFoundError: There is no open plan of that number.
        InvalidInputError: Nothing is said of what came of it.
        TemporaryError: The ledger cannot be written.
    """
    if not actor.reason.strip():
        raise InvalidInputError("reason", "must say what came of it")
    for plan in remediations_of(read_records(desk.ledger, kinds=REMEDIATION_KINDS)):
        if plan.number == number and plan.closed_at is None:
            desk.ledger.append(
                actor.decides(EntryKind.REMEDIATION_CLOSED, plan.model, {"remediation": number})
            )
            return plan
    raise NotFoundError(f"no remediation plan {number} is open: 'streamrec remediations list' shows them")
