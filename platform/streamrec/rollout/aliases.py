"""The aliases of the registry mirror the traffic document; one that was moved by hand is put back.

Nothing serves by an alias. But people read them, and other tools load by them, so they must not lie.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from streamrec.contracts.errors import NotFoundError
from streamrec.contracts.ledger_entry import ActorRole, EntryKind
from streamrec.contracts.models import CHALLENGER, CHAMPION, ModelRef
from streamrec.contracts.traffic import Traffic
from streamrec.ledger.ledger import Decision, Ledger
from streamrec.ledger.served import change_told_by
from streamrec.registry.model_registry import ModelRegistry
from streamrec.rollout.told_changes import ROLLOUT_CONTROLLER

_LOG = logging.getLogger(__name__)

LOOK_EVERY: Final = timedelta(seconds=10)
"""Between two looks where the document has not changed; a moved alias is put back then at the latest."""


@dataclass(frozen=True, slots=True)
class AliasReverted:
    """An alias that somebody had moved.

    Attributes:
        slot: The slot that it is about.
        alias: Which.
        found: Where it pointed; None: nowhere.
        wanted: Where it points now; None: nowhere.
    """

    slot: str
    alias: str
    found: ModelRef | None
    wanted: ModelRef | None


@dataclass
class AliasMirror:
    """Keeps the aliases.

    Attributes:
        registry: Which has them.
        ledger: Hears of every one that was put back, before it is.
        clock: Now.
    """

    registry: ModelRegistry
    ledger: Ledger
    clock: Callable[[], datetime]
    _mirrored: dict[tuple[str, str], ModelRef | None] = field(default_factory=dict)
    _looked_at: datetime | None = None
    _looked_for: Mapping[tuple[str, str], ModelRef | None] | None = None

    def mirror(self, traffic: Traffic | None) -> tuple[AliasReverted, ...]:
        """Let the aliases say what the document says, where it has changed or the last look is old.

        Raises:
            TemporaryError: The registry or the ledger does not answer; tried again at the next look.
            ArtifactError: The ledger was changed.
        """
        wanted, slots = _wanted(traffic)
        now = self.clock()
        if (
            self._looked_at is not None
            and self._looked_for == wanted
            and abs(now - self._looked_at) < LOOK_EVERY
        ):
            return ()
        # Also where it fails: a registry that is down takes seconds to say so.
        self._looked_at, self._looked_for = now, wanted
        reverted = [
            found
            for (name, alias), ref in sorted(wanted.items(), key=lambda one: one[0])
            if (found := self._put(name, alias, ref, slots[name])) is not None
        ]
        return tuple(reverted)

    def _put(self, name: str, alias: str, wanted: ModelRef | None, slot: str) -> AliasReverted | None:
        key = (name, alias)
        found = self._found(name, alias)
        drifted = None
        if found != wanted:
            if self._was_moved(key, found, wanted, slot):
                drifted = AliasReverted(slot, alias, found, wanted)
                self._record(drifted)
            if wanted is None:
                self.registry.remove_alias(name, alias)
            else:
                self.registry.set_alias(wanted, alias)
        self._mirrored[key] = wanted
        return drifted

    def _found(self, name: str, alias: str) -> ModelRef | None:
        try:
            return self.registry.resolve(name, alias).ref
        except NotFoundError:
            return None

    def _was_moved(
        self, key: tuple[str, str], found: ModelRef | None, wanted: ModelRef | None, slot: str
    ) -> bool:
        """Whether somebody moved it, and not the document from under it."""
        if key in self._mirrored:
            return self._mirrored[key] == wanted
        if found is None or key[1] != CHAMPION:
            return False
        # This process has just started: it may have died, or another one, before it set the alias.
        newest = next(
            self.ledger.entries(kinds=(EntryKind.TRAFFIC_CHANGED,), subject=slot, newest_first=True, limit=1),
            None,
        )
        return newest is None or change_told_by(self.ledger, newest).before.get(slot) != found

    def _record(self, drifted: AliasReverted) -> None:
        text = f"the alias {drifted.alias} pointed at {drifted.found or 'nothing'}, and {drifted.slot} " + (
            f"has {drifted.wanted} as {drifted.alias}"
            if drifted.wanted is not None
            else f"has no {drifted.alias}"
        )
        evidence = {
            "alias": drifted.alias,
            "found": None if drifted.found is None else str(drifted.found),
            "wanted": None if drifted.wanted is None else str(drifted.wanted),
        }
        self.ledger.append(
            Decision(
                ROLLOUT_CONTROLLER, ActorRole.PLATFORM, EntryKind.ALIAS_REVERTED, drifted.slot, text, evidence
            )
        )
        _LOG.warning("%s; it is put back", text)


def _wanted(
    traffic: Traffic | None,
) -> tuple[Mapping[tuple[str, str], ModelRef | None], Mapping[str, str]]:
    """Where each alias should point, and the slot of each model.

    A model that is champion of several slots has no alias that says so, and none is touched.
    """
    slots = {} if traffic is None else traffic.slots
    names = Counter(slot.champion.name for slot in slots.values())
    wanted: dict[tuple[str, str], ModelRef | None] = {}
    slot_of: dict[str, str] = {}
    for name, slot in slots.items():
        model = slot.champion.name
        if names[model] > 1:
            continue
        slot_of[model] = name
        wanted[model, CHAMPION] = slot.champion
        is_own = slot.challenger is not None and slot.challenger.name == model
        wanted[model, CHALLENGER] = slot.challenger if is_own else None
    return wanted, slot_of
