"""Which command needs which role: the one table, for the command line and for the API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from streamrec.access.identity import Identity
from streamrec.contracts.errors import PermissionDeniedError
from streamrec.contracts.ledger_entry import ActorRole

_ANYBODY: Final = frozenset(ActorRole)

COMMANDS: Final[Mapping[str, frozenset[ActorRole]]] = MappingProxyType(
    {
        "models register": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "models deploy": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "gates without isolation": frozenset({ActorRole.PLATFORM}),
        "models promote": frozenset({ActorRole.PLATFORM}),
        "models rollback": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "rollouts start": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "rollouts pause": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "rollouts resume": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "rollouts promote": frozenset({ActorRole.PLATFORM}),
        "rollouts abort": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "rollouts retry": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "rollouts rollback": frozenset({ActorRole.SPOKE, ActorRole.PLATFORM}),
        "models audit": frozenset({ActorRole.REVIEWER, ActorRole.RESPONSIBLE_AI, ActorRole.PLATFORM}),
        "models revoke": frozenset({ActorRole.PLATFORM, ActorRole.RESPONSIBLE_AI}),
        "reviews list": _ANYBODY,
        "reviews approve": frozenset({ActorRole.REVIEWER, ActorRole.RESPONSIBLE_AI, ActorRole.PLATFORM}),
        "reviews reject": frozenset({ActorRole.REVIEWER, ActorRole.RESPONSIBLE_AI, ActorRole.PLATFORM}),
        "overrides list": _ANYBODY,
        "overrides grant": frozenset({ActorRole.RESPONSIBLE_AI}),
        "overrides end": frozenset({ActorRole.RESPONSIBLE_AI}),
        "remediations list": _ANYBODY,
        "remediations close": frozenset({ActorRole.RESPONSIBLE_AI}),
        "keys rotate": frozenset({ActorRole.PLATFORM}),
        "keys sign-again": frozenset({ActorRole.PLATFORM}),
        "keys revoke": frozenset({ActorRole.PLATFORM}),
        "access add": frozenset({ActorRole.PLATFORM}),
        "access rotate": frozenset({ActorRole.PLATFORM}),
        "access revoke": frozenset({ActorRole.PLATFORM}),
        "access list": frozenset({ActorRole.PLATFORM}),
    }
)
"""By command, or by what a setting would allow; somebody needs one of the roles. A ``spoke`` acts in its own
slots alone."""


def check_held(identity: Identity, *commands: str) -> None:
    """Refuse whoever has none of the roles that a command takes, before anything else is looked at.

    Whether a ``spoke`` acts in their own slots is for `role_for`, which knows what it is about.

    Args:
        identity: Who.
        commands: Of `COMMANDS`; to be allowed one of them is enough.

    Raises:
        PermissionDeniedError: They have none.
    """
    needed = frozenset[ActorRole]().union(*(COMMANDS[command] for command in commands))
    if not needed & identity.roles:
        raise PermissionDeniedError(_lacking(identity, commands[0], needed))


def role_for(identity: Identity, command: str, slot: str | None = None) -> ActorRole:
    """In which role somebody runs a command: the narrowest that allows it.

    Args:
        identity: Who.
        command: One of `COMMANDS`.
        slot: What it is about, where it is about a slot.

    Raises:
        PermissionDeniedError: In none; says which would do.
    """
    needed = COMMANDS[command]
    held = [role for role in ActorRole if role in needed and role in identity.roles]
    acting = [role for role in held if role is not ActorRole.SPOKE or identity.acts_for(slot)]
    # The owner of a workspace is no spoke of any slot, and acts as the platform.
    if acting:
        return acting[0]
    if ActorRole.SPOKE in held:
        own = ", ".join(identity.slots) or "none"
        raise PermissionDeniedError(
            f"{identity.actor} acts for the slots {own}, and 'streamrec {command}' is about {slot or 'none'}"
        )
    raise PermissionDeniedError(_lacking(identity, command, needed))


def _lacking(identity: Identity, command: str, needed: frozenset[ActorRole]) -> str:
    roles = " or ".join(sorted(needed))
    has = ", ".join(sorted(identity.roles))
    return (
        f"'streamrec {command}' needs the role {roles}; {identity.actor} has {has}. Whoever has the role "
        "platform gives roles: streamrec access add"
    )
