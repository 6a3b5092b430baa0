"""The ledger: entries, what served when, and whether it is what was written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from services.control_plane.asking import Asking, Parts
from streamrec.contracts.canonical_json import LARGEST_INTEGER
from streamrec.contracts.ledger_entry import EntryKind
from streamrec.ledger import reports
from streamrec.ledger.served import served
from streamrec.ledger.verification import verify

router: Final = APIRouter(tags=["ledger"])


@router.get("/v1/ledger/entries")
def list_entries(
    parts: Parts,
    asking: Asking,  # noqa: ARG001 - whoever asks is known
    kind: Annotated[EntryKind | None, Query()] = None,
    subject: Annotated[str | None, Query(max_length=256)] = None,
    after: Annotated[int, Query(ge=0, le=LARGEST_INTEGER, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    """Entries, oldest first."""
    kinds = () if kind is None else (kind,)
    found = list(parts.ledger.entries(kinds=kinds, subject=subject, after_seq=after, limit=limit))
    return {
        "items": [entry.to_json() for entry in found],
        "next": found[-1].seq if len(found) == limit else None,
    }


@router.get("/v1/ledger/served")
def show_served(
    parts: Parts,
    asking: Asking,  # noqa: ARG001
    slot: Annotated[str, Query(max_length=128)],
    at: Annotated[AwareDatetime | None, Query(description="With its zone; now where it is left out.")] = None,
) -> dict[str, Any]:
    """What served a slot at a time, who approved it, and on what evidence."""
    moment = parts.clock() if at is None else _utc(at)
    found = served(parts.ledger, slot, moment)
    result = (
        reports.nothing_served_result(slot, moment.isoformat())
        if found is None
        else reports.served_result(parts.ledger, found)
    )
    return result.to_json()


@router.get("/v1/ledger/verification")
def verify_ledger(parts: Parts, asking: Asking) -> dict[str, Any]:  # noqa: ARG001
    """Look for the first entry that is not as it was appended; anchors are compared by the command."""
    return reports.verification_result("the ledger", verify(parts.ledger.stored(), ())).to_json()


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
