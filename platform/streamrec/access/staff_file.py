"""The access file on disk, and finding out by it who acts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from streamrec.access.identity import Identity, local_owner
from streamrec.callers.token_file import TokenFile
from streamrec.callers.tokens import NewToken, holder_of, new_token, rotated
from streamrec.contracts.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from streamrec.contracts.governance.staff import Member, Staff
from streamrec.contracts.ledger_entry import ActorRole

TOKEN_VARIABLE: Final = "STREAMREC_TOKEN"  # noqa: S105 - the name of a variable, no secret
MAXIMUM_BYTES: Final = 4 * 1024 * 1024

_NOBODY: Final = Staff(members=())

Record = Callable[[Mapping[str, Any]], None]
"""Writes evidence of a change into the ledger."""


def not_recorded(_evidence: Mapping[str, Any]) -> None:
    """Write nothing down: for a file that is made before there is a ledger."""


class StaffFile:
    """Reads and changes the file. Changes by several processes happen one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TokenFile[Staff] = TokenFile(
            path,
            Staff.from_json,
            Staff.to_json,
            maximum_bytes=MAXIMUM_BYTES,
            missing=f"there is no access file {path}: its owner acts in every role; make it with "
            "'streamrec access add NAME --role platform'",
        )

    def read(self) -> Staff:
        """Return what the file says.

        Raises:
            NotFoundError: There is no file.
            DocumentRefusedError: It cannot be read, others may change it, or it is damaged; says what to do.
        """
        return self._file.read()

    def add(
        self,
        name: str,
        roles: Sequence[ActorRole],
        slots: Sequence[str],
        now: datetime,
        lifetime: timedelta,
        *,
        record: Record = not_recorded,
    ) -> NewToken:
        """Give somebody new roles and a token; the file is made where there is none.

        Args:
            name, roles, slots: See `Member`.
            now: From when on the token counts.
            lifetime: How long it counts.
            record: Writes the decision down before it takes effect; what it raises prevents it.

        Raises:
            InvalidInputError: The name or a slot is none, the name is taken, or nobody would have the role
                platform: without it nobody could change the file again.
        """
        token = new_token(now, now + lifetime)

        def add(staff: Staff) -> Staff:
            if staff.named(name) is not None:
                raise InvalidInputError(
                    "name", f"{name} is there already: 'streamrec access rotate {name}' makes a token"
                )
            member = Member(name, tuple(dict.fromkeys(roles)), tuple(slots), (token.kept,))
            changed = _checked(replace(staff, members=(*staff.members, member)), now)
            record({"token_id": token.kept.token_id, "roles": list(member.roles), "slots": list(slots)})
            return changed

        self._file.change(add, or_else=_NOBODY)
        return token

    def rotate(
        self,
        name: str,
        now: datetime,
        lifetime: timedelta,
        overlap: timedelta,
        *,
        record: Record = not_recorded,
    ) -> NewToken:
        """Give somebody a new token; the others are refused once ``overlap`` is over.

        Raises:
            NotFoundError: There is no such member.
        """
        token = new_token(now, now + lifetime)

        def rotate(member: Member) -> Member:
            return replace(member, tokens=rotated(member.tokens, token.kept, now, overlap))

        evidence = {"token_id": token.kept.token_id, "overlap_s": overlap.total_seconds()}
        self._change_member(name, rotate, now, record, evidence)
        return token

    def revoke(
        self, name: str, token_id: str | None, now: datetime, *, record: Record = not_recorded
    ) -> None:
        """Refuse somebody, or one of their tokens, from now on.

        Raises:
            NotFoundError: There is no such member, or they have no such token.
            InvalidInputError: Nobody would have the role platform any more.
        """

        def revoke(member: Member) -> Member | None:
            if token_id is None:
                return None
            left = tuple(token for token in member.tokens if token.token_id != token_id)
            if len(left) == len(member.tokens):
                raise NotFoundError(f"{name} has no token {token_id}: 'streamrec access list' shows them")
            return replace(member, tokens=left)

        self._change_member(name, revoke, now, record, {"token_id": token_id})

    def _change_member(
        self,
        name: str,
        change: Callable[[Member], Member | None],
        now: datetime,
        record: Record,
        evidence: Mapping[str, Any],
    ) -> None:
        def change_one(staff: Staff) -> Staff:
            found = staff.named(name)
            if found is None:
                raise NotFoundError(f"there is no {name!r}: 'streamrec access list' shows who there is")
            changed = change(found)
            members = (changed if other is found else other for other in staff.members)
            kept = tuple(member for member in members if member is not None)
            after = _checked(replace(staff, members=kept), now)
            record(evidence)
            return after

        self._file.change(change_one)


def acting(file: StaffFile, token: str | None, clock: Callable[[], float] = time.time) -> Identity:
    """Who acts: the holder of the token; where there is no access file, the owner of the workspace.

    Args:
        file: The access file.
        token: What `TOKEN_VARIABLE` holds; never written anywhere.
        clock: Seconds since 1970; tokens expire by it.

    Raises:
        PermissionDeniedError: There is an access file, and the token is missing, unknown, revoked or expired.
        DocumentRefusedError: The access file is damaged.
    """
    try:
        staff = file.read()
    except NotFoundError:
        if token:
            raise PermissionDeniedError(
                f"{TOKEN_VARIABLE} is set, and there is no access file {file.path} that knows the token: "
                "is it the right workspace?"
            ) from None
        return local_owner()
    if not token:
        raise PermissionDeniedError(
            f"who acts is said by a token here: set {TOKEN_VARIABLE}. Whoever has the role platform makes "
            "one: streamrec access add"
        )
    holders = {
        kept.token_id: (member, kept, kept.expires_at.timestamp())
        for member in staff.members
        for kept in member.tokens
    }
    member = holder_of(token, holders, clock())
    if member is None:
        raise PermissionDeniedError(
            f"the token in {TOKEN_VARIABLE} is unknown, revoked or expired: 'streamrec access rotate NAME', "
            "run by whoever has the role platform, makes a new one"
        )
    return Identity(member.name, frozenset(member.roles), member.slots)


def _checked(staff: Staff, now: datetime) -> Staff:
    """What may be written: checked before the ledger hears of it, for no entry is taken back."""
    staff = Staff.from_json(staff.to_json())
    able = (
        member
        for member in staff.members
        if ActorRole.PLATFORM in member.roles and any(token.expires_at > now for token in member.tokens)
    )
    if next(able, None) is None:
        raise InvalidInputError(
            "role",
            "must leave somebody with the role platform and a token that counts: nobody else could change "
            "the access file again",
        )
    return staff
