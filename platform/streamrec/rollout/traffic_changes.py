"""What a change of the traffic document makes of it: pure functions of what was there and what is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamrec.contracts.errors import InvalidInputError, NotFoundError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.traffic import SlotTraffic, Traffic
from streamrec.rollout.traffic_history import ChangeKind, TrafficChange

_BUNDLE_MAXIMUM_LENGTH: Final = 128

DependsOn = Mapping[ModelRef, Mapping[str, ModelRef]]
"""What each version needs, by role (`ModelVersion.depends_on`)."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is about to be done.

    Attributes:
        kind: Promotion or rollback.
        slots: The document's slots afterwards.
        before, after: Champion by slot, of the slots that change; an empty slot is not in ``before``.
        undoes: Revision of the promotion that a rollback undoes.
    """

    kind: ChangeKind
    slots: Mapping[str, SlotTraffic]
    before: Mapping[str, ModelRef]
    after: Mapping[str, ModelRef]
    undoes: int | None = None


def champions(traffic: Traffic | None) -> dict[str, ModelRef]:
    """Champion by slot; empty where there is no document."""
    return {} if traffic is None else {name: slot.champion for name, slot in traffic.slots.items()}


def with_champions(
    before: Traffic | None, wanted: Mapping[str, ModelRef], depends_on: DependsOn
) -> dict[str, SlotTraffic]:
    """The slots with other champions; slots whose champions depend on each other become one bundle.

    Args:
        before: What serves now; None where nothing does.
        wanted: New champion by slot; other slots keep theirs.
        depends_on: Of every champion afterwards.

    Raises:
        InvalidInputError: A rollout or an experiment owns a slot, or a champion would live in the embedding
            space of a version that does not serve; the message says what to promote together.
    """
    slots = {} if before is None else dict(before.slots)
    for name in wanted:
        if name in slots and slots[name].holder is not None:
            raise InvalidInputError(
                f"slots.{name}", f"belongs to {slots[name].holder}, which alone may change it"
            )
    after = {name: slot.champion for name, slot in slots.items()} | dict(wanted)
    check_dependencies(after, depends_on)
    bundles = {name: bundle_name(group) for group in bundles_of(after, depends_on) for name in group}
    for name in wanted:
        old = slots.get(name)
        if old is None:
            slots[name] = SlotTraffic(wanted[name], None, 0, 0, salt_of(name), None, None, None)
        else:
            slots[name] = replace(old, champion=wanted[name])
    return {name: _bundled(slot, name, bundles.get(name)) for name, slot in slots.items()}


def last_change_of(slot: str, history: Sequence[TrafficChange], now: Mapping[str, ModelRef]) -> TrafficChange:
    """The change that a rollback of ``slot`` undoes: its newest promotion that has not been undone.

    Args:
        slot: Which slot.
        history: Oldest first.
        now: Champion by slot.

    Raises:
        NotFoundError: There is no such promotion, or it filled an empty slot: nothing served before.
        InvalidInputError: A slot that was changed with it has another champion by now.
    """
    undone = {change.undoes for change in history if change.kind is ChangeKind.ROLLED_BACK}
    candidates = [
        change
        for change in history
        if change.kind is ChangeKind.PROMOTED and change.revision not in undone and slot in change.after
    ]
    if not candidates:
        raise NotFoundError(f"no promotion in {slot} is left to undo")
    change = candidates[-1]
    empty = sorted(name for name in change.after if name not in change.before)
    if empty:
        raise NotFoundError(
            f"nothing served in {', '.join(empty)} before {change.after[slot]}: no version to go back to"
        )
    for name, after in change.after.items():
        if now.get(name) != after:
            raise InvalidInputError(
                name,
                f"was changed together with {slot} and has been changed again since, to {now.get(name)}: "
                f"roll {name} back first",
            )
    return change


def check_dependencies(champions_after: Mapping[str, ModelRef], depends_on: DependsOn) -> None:
    """Refuse champions of which one works with a version that would not serve beside it.

    Raises:
        InvalidInputError: One does; the message says what to promote together.
    """
    serving = {ref.name: ref for ref in champions_after.values()}
    for slot, ref in sorted(champions_after.items()):
        for needed in depends_on[ref].values():
            found = serving.get(needed.name, needed)
            if found != needed:
                raise InvalidInputError(
                    slot,
                    f"{ref} works with {needed}, and {found} would serve beside it: promote a version that "
                    f"was trained with {found}, or {needed}, in the same command",
                )


def bundles_of(champions_after: Mapping[str, ModelRef], depends_on: DependsOn) -> list[set[str]]:
    """The slots that depend on each other, a set for each bundle."""
    slot_of = {ref.name: slot for slot, ref in champions_after.items()}
    group = {slot: {slot} for slot in champions_after}
    for slot, ref in champions_after.items():
        for needed in depends_on[ref].values():
            other = slot_of.get(needed.name)
            if other is not None:
                joined = group[slot] | group[other]
                for member in joined:
                    group[member] = joined
    found: list[set[str]] = []
    for members in group.values():
        if len(members) > 1 and members not in found:
            found.append(members)
    return found


def bundle_name(slots: Collection[str]) -> str:
    """Of slots that change together."""
    return " + ".join(sorted(slots))[:_BUNDLE_MAXIMUM_LENGTH]


def _bundled(slot: SlotTraffic, name: str, bundle: str | None) -> SlotTraffic:
    if slot.holder is not None or slot.bundle == bundle:
        return slot
    return replace(slot, bundle=bundle, salt=salt_of(bundle or name))


def salt_of(name: str) -> str:
    """Of a slot without rollout, where nobody's answer depends on it."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]
