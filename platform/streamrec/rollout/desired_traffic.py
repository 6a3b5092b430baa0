"""What the traffic document should say: a pure function of where the rollouts stand.

Whoever drives the rollouts compares it with the document in force and publishes the difference. So it does
not matter who died when: the states are in the ledger, and the document follows from them.

| phase | the slot says | prepared |
|---|---|---|
| preparing | the challenger, with no share: its own replicas load it | |
| preparing, to become champion at once | what served | the challenger |
| shadow | the challenger, asked beside the champion for everybody | |
| canary | the challenger with the share of the step; the plan's holdback | at the last step, the challenger |
| watch, completed | the challenger as champion, once the champion's replicas have it | what served before |
| rolled back, aborted | what served before | |

A change of champion waits until every replica of the slot, and of all slots of the rollout, has loaded it.
Meanwhile the challenger answers everybody, so that nobody is sent back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from streamrec.contracts.errors import ConflictError, InvalidInputError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import Move, RolloutPhase, RolloutState
from streamrec.contracts.traffic import Holdback, SlotTraffic, Traffic
from streamrec.contracts.units import BASIS_POINTS
from streamrec.rollout.traffic_changes import (
    DependsOn,
    bundle_name,
    bundles_of,
    champions,
    check_dependencies,
    salt_of,
)

_UNDONE: Final = frozenset({RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED})
_HOLDBACK_SALT: Final = "{}.holdback"
_SALT_CHARACTERS: Final = 48

Loaded = Mapping[str, Collection[ModelRef]]
"""By slot: what every replica of its champion can answer with; a slot without replicas is left out."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the document should say, but for its revision.

    Attributes:
        slots: By name.
        prepare: Versions that replicas load beside those that answer.
    """

    slots: Mapping[str, SlotTraffic]
    prepare: tuple[ModelRef, ...]

    def is_said_by(self, traffic: Traffic | None) -> bool:
        """Whether a document says exactly this."""
        if traffic is None:
            return not self.slots and not self.prepare
        return dict(traffic.slots) == dict(self.slots) and traffic.prepare == self.prepare


def desired(
    traffic: Traffic | None,
    states: Sequence[RolloutState],
    *,
    depends_on: DependsOn,
    loaded: Loaded,
    now: datetime,
) -> Desired:
    """What the document should say.

    Args:
        traffic: The one in force; slots that no state is about stay as they are.
        states: Of each slot the state that counts, the one that moved last at the end.
        depends_on: Of every version that a slot or a state names (`needed_versions`).
        loaded: What the champions' replicas have.
        now: Holdbacks end by it.
    """
    slots = {} if traffic is None else dict(traffic.slots)
    prepare: list[ModelRef] = []
    for state in states:
        prepare += _apply(state, slots, loaded)
    for name, slot in slots.items():
        held = slot.holdback
        if held is not None and (held.until <= now or held.version == slot.challenger):
            slots[name] = replace(slot, holdback=None)
    _end_unfit_holdbacks(slots, depends_on)
    serving = {slot.champion for slot in slots.values()}
    wanted = tuple(dict.fromkeys(ref for ref in prepare if ref not in serving))
    return Desired(_in_bundles(slots, states, depends_on), wanted)


def needed_versions(traffic: Traffic | None, moves: Sequence[Move]) -> frozenset[ModelRef]:
    """Every version whose dependencies `desired` and `check_start` look at.

    Args:
        traffic: The document in force.
        moves: Of all states that count, or of what is about to start.
    """
    found = {ref for move in moves for ref in (move.challenger, move.champion)}
    for slot in () if traffic is None else traffic.slots.values():
        found |= {slot.champion, slot.challenger}
        if slot.holdback is not None:
            found.add(slot.holdback.version)
    return frozenset(ref for ref in found if ref is not None)


def check_start(
    traffic: Traffic | None, moves: Sequence[Move], holdback_bp: int, depends_on: DependsOn
) -> None:
    """Refuse moves that the document cannot take.

    Args:
        traffic: The document in force.
        moves: What a rollout would do.
        holdback_bp: Share that its plan holds back.
        depends_on: Of every version that a slot or a move names (`needed_versions`).

    Raises:
        ConflictError: A slot of the moves, or one of its bundle, is held by somebody or still has a holdback.
        InvalidInputError: The challengers do not fit to what serves beside them.
    """
    slots = {} if traffic is None else traffic.slots
    after = champions(traffic) | {move.slot: move.challenger for move in moves}
    check_dependencies(after, depends_on)
    own = {move.slot for move in moves}
    touched = set(own)
    for group in (*bundles_of(champions(traffic), depends_on), *bundles_of(after, depends_on)):
        if group & own:
            touched |= group
    for name in sorted(touched & slots.keys()):
        slot = slots[name]
        because = "" if name in own else f", and {name} changes together with {', '.join(sorted(own))}"
        if slot.holder is not None:
            raise ConflictError(
                f"{name} is held by {slot.holder}{because}: wait until it is over, or abort it"
            )
        if holdback_bp and slot.holdback is not None:
            raise ConflictError(
                f"{name} still has a holdback of {slot.holdback.version} until "
                f"{slot.holdback.until:%Y-%m-%d %H:%M} UTC{because}: wait for that, or plan without one"
            )


def _apply(state: RolloutState, slots: dict[str, SlotTraffic], loaded: Loaded) -> list[ModelRef]:
    """Put one rollout's slots as they should be; return what is to be prepared."""
    if state.phase in _UNDONE:
        return _undone(state, slots, loaded)
    if state.phase in (RolloutPhase.WATCH, RolloutPhase.COMPLETED):
        return _flipped(state, slots, loaded)
    if state.phase is RolloutPhase.PREPARING and (state.fills_empty_slots or state.without_canary):
        for move in state.moves:
            if move.champion is not None:
                slots[move.slot] = replace(_plain(slots, move.slot, move.champion), holder=state.rollout)
        return list(state.challengers)
    for move in state.moves:
        slots[move.slot] = _tried(state, move, slots.get(move.slot), state.weight_bp)
    return list(state.challengers) if state.weight_bp == BASIS_POINTS else []


def _tried(state: RolloutState, move: Move, slot: SlotTraffic | None, weight_bp: int) -> SlotTraffic:
    """The slot while the challenger is tried."""
    assert move.champion is not None  # noqa: S101 - an empty slot has no canary
    before_canary = state.phase in (RolloutPhase.PREPARING, RolloutPhase.SHADOW)
    own = None if before_canary else _holdback(state, move)
    return SlotTraffic(
        champion=move.champion,
        challenger=move.challenger,
        weight_bp=weight_bp,
        shadow_bp=BASIS_POINTS if state.phase is RolloutPhase.SHADOW else 0,
        salt=state.salt,
        holder=state.rollout,
        bundle=None,
        holdback=own or _kept(slot),
    )


def _flipped(state: RolloutState, slots: dict[str, SlotTraffic], loaded: Loaded) -> list[ModelRef]:
    """The challenger as champion, in all slots or in none."""
    holder = state.rollout if state.phase is RolloutPhase.WATCH else None
    serves = {move.slot: slots[move.slot].champion for move in state.moves if move.slot in slots}
    ready = all(
        serves.get(move.slot) == move.challenger
        or move.challenger in loaded.get(move.slot, (move.challenger,))
        for move in state.moves
    )
    for move in state.moves:
        if ready:
            slot = _plain(slots, move.slot, move.challenger)
            held = _holdback(state, move) or _kept(slots.get(move.slot))
            slots[move.slot] = replace(slot, holder=holder, salt=state.salt, holdback=held)
        elif move.champion is not None:
            # The challenger's own replicas answer everybody until the champion's have it.
            everybody = slots.get(move.slot)
            if everybody is not None and everybody.challenger == move.challenger:
                slots[move.slot] = _tried(state, move, everybody, BASIS_POINTS)
    if not ready:
        return list(state.challengers)
    return [move.champion for move in state.moves if move.champion is not None]


def _undone(state: RolloutState, slots: dict[str, SlotTraffic], loaded: Loaded) -> list[ModelRef]:
    """What served before, in all slots or in none."""
    before = {move.slot: move.champion for move in state.moves}
    ready = all(
        champion is None
        or (name in slots and slots[name].champion == champion)
        or champion in loaded.get(name, (champion,))
        for name, champion in before.items()
    )
    if not ready:
        return [champion for champion in before.values() if champion is not None]
    for move in state.moves:
        if move.champion is None:
            slots.pop(move.slot, None)
            continue
        slot = slots.get(move.slot)
        own = _holdback(state, move)
        held = _kept(slot)
        if held is not None and own is not None and held.salt == own.salt:
            held = None
        plain = _plain(slots, move.slot, move.champion)
        slots[move.slot] = replace(plain, holdback=held)
    return []


def _plain(slots: Mapping[str, SlotTraffic], name: str, champion: ModelRef) -> SlotTraffic:
    """A slot that nobody holds, with what it had of a salt."""
    slot = slots.get(name)
    salt = salt_of(name) if slot is None else slot.salt
    return SlotTraffic(champion, None, 0, 0, salt, None, None, _kept(slot))


def _kept(slot: SlotTraffic | None) -> Holdback | None:
    return None if slot is None else slot.holdback


def _holdback(state: RolloutState, move: Move) -> Holdback | None:
    """The one of the plan; until the rollout is completed it ends as late as it can."""
    plan = state.plan
    if not plan.holdback_bp or move.champion is None:
        return None
    days = timedelta(days=plan.holdback_days)
    if state.phase is RolloutPhase.COMPLETED:
        until = state.phase_began_at + days
    else:
        until = state.started_at + timedelta(hours=plan.deadline_hours + plan.watch_hours) + days
    salt = _HOLDBACK_SALT.format(state.salt[:_SALT_CHARACTERS])
    return Holdback(move.champion, plan.holdback_bp, salt, until)


def _end_unfit_holdbacks(slots: dict[str, SlotTraffic], depends_on: DependsOn) -> None:
    """End holdbacks whose versions would answer beside versions that they, or those, were not made for.

    A holdback outlives its rollout and does not hold its slot. So a later rollout may move a slot that its
    version depends on, or that depends on it: from then on the units that it keeps would get what does not
    fit together, and there is nothing right to show them but the new set.
    """
    now = {name: slot.champion for name, slot in slots.items()}
    met = now | {
        name: slot.challenger
        for name, slot in slots.items()
        if slot.challenger is not None and slot.weight_bp > 0
    }
    for salt in {slot.holdback.salt for slot in slots.values() if slot.holdback is not None}:
        kept = {
            name: slot.holdback.version
            for name, slot in slots.items()
            if slot.holdback is not None and slot.holdback.salt == salt
        }
        if all(_fits(served | kept, depends_on) or not _fits(served, depends_on) for served in (now, met)):
            continue
        for name in kept:
            slots[name] = replace(slots[name], holdback=None)


def _fits(served: Mapping[str, ModelRef], depends_on: DependsOn) -> bool:
    try:
        check_dependencies(served, depends_on)
    except InvalidInputError:
        return False
    return True


def _in_bundles(
    slots: Mapping[str, SlotTraffic], states: Sequence[RolloutState], depends_on: DependsOn
) -> dict[str, SlotTraffic]:
    """Name the bundles: slots that depend on each other now or afterwards, and those that move together."""
    now = {name: slot.champion for name, slot in slots.items()}
    after = now | {name: slot.challenger for name, slot in slots.items() if slot.challenger is not None}
    moving = [set(state.slots) & slots.keys() for state in states if not state.phase.is_over]
    groups = _joined([*bundles_of(now, depends_on), *bundles_of(after, depends_on), *moving])
    named: dict[str, SlotTraffic] = {}
    for name, slot in slots.items():
        group = next((group for group in groups if name in group), {name})
        bundle = bundle_name(group) if len(group) > 1 else None
        holders = sorted(member for member in group if slots[member].holder is not None)
        salt = slots[holders[0]].salt if holders else salt_of(bundle or name)
        named[name] = replace(slot, bundle=bundle, salt=salt)
    return named


def _joined(groups: Sequence[Collection[str]]) -> list[set[str]]:
    """Groups that share a member, joined."""
    joined: list[set[str]] = []
    for group in groups:
        mine = set(group)
        apart = []
        for other in joined:
            if other & mine:
                mine |= other
            else:
                apart.append(other)
        joined = [*apart, mine] if mine else apart
    return joined
