"""Who acts: a member of staff by a token, or the owner of a workspace on one machine."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from streamrec.contracts.ledger_entry import ActorRole


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who acts.

    Attributes:
        actor: The name that stands in the ledger.
        roles: What they may do.
        slots: Where the role ``spoke`` counts: ``TEAM.NAME`` or ``TEAM.*``.
        by_token: Whether a token says who they are. An operating system's account, which the owner of a
            workspace acts by, never is a second pair of eyes.
    """

    actor: str
    roles: frozenset[ActorRole]
    slots: tuple[str, ...] = ()
    by_token: bool = True

    def acts_for(self, slot: str | None) -> bool:
        """Whether the role ``spoke`` counts in a slot; a version without a slot belongs to nobody."""
        team = (slot or "").partition(".")[0]
        return slot is not None and any(own in (slot, f"{team}.*") for own in self.slots)


def local_owner() -> Identity:
    """The owner of a workspace without an access file: has every role, but is one person.

    The name is that of the account; the environment, which anybody can set, is not asked.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid-{os.getuid()}"  # an account without a name, as in some containers
    return Identity(name, frozenset(ActorRole), by_token=False)
