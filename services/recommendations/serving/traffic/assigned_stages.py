"""Who answers a unit, by one revision of the traffic document: the stages that its requests are pinned to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from services.recommendations.contracts.stages import MODEL_NAMES, MODEL_STAGES, SLOTS, Pin, Stages, Trial
from services.recommendations.serving.versioned_stages import VersionedStages
from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import SlotTraffic, Traffic, assigned
from streamrec.contracts.units import bucket

_Sides = tuple[ServingRole, ...]
"""By stage, in order: what a unit is assigned to; `ServingRole.SHADOW` is a champion with a shadow beside."""


class AssignedStages:
    """The stages by unit, under one document. There are few combinations: each is made once."""

    def __init__(
        self, traffic: Traffic | None, champions: VersionedStages, challengers: VersionedStages | None
    ) -> None:
        """Read who is named.

        Args:
            traffic: The document in force; None before the first.
            champions: Answer as champion and as holdback.
            challengers: Answer as challenger and as shadow; None: no challenger is tried.
        """
        self._champions, self._challengers = champions, challengers
        self._revision = None if traffic is None else traffic.revision
        slots = {} if traffic is None else traffic.slots
        self._slots: Mapping[str, SlotTraffic] = {
            stage: slot
            for stage in MODEL_STAGES
            if (slot := slots.get(SLOTS[stage])) is not None and _is_of(stage, slot.champion)
        }
        self._divided = {
            stage: slot
            for stage, slot in self._slots.items()
            if slot.holdback is not None or slot.challenger is not None
        }
        self._made: dict[_Sides, Stages] = {}
        self._undivided = self._stages_of(())

    @property
    def versions(self) -> dict[ServingRole, dict[str, int]]:
        """Version by stage, by role; a shadow is shown as the challenger that it is."""
        found: dict[ServingRole, dict[str, int]] = {
            ServingRole.CHAMPION: {stage: slot.champion.version for stage, slot in self._slots.items()},
            ServingRole.CHALLENGER: {},
            ServingRole.HOLDBACK: {},
        }
        for stage, slot in self._divided.items():
            if slot.challenger is not None and _is_of(stage, slot.challenger):
                found[ServingRole.CHALLENGER][stage] = slot.challenger.version
            if slot.holdback is not None and _is_of(stage, slot.holdback.version):
                found[ServingRole.HOLDBACK][stage] = slot.holdback.version.version
        return found

    def stages(self, unit: str) -> Stages:
        """The stages as a request of this unit is to see them."""
        if not self._divided:
            return self._undivided
        sides = tuple(_side(slot, stage, unit) for stage, slot in self._divided.items())
        made = self._made.get(sides)
        if made is None:
            made = self._made[sides] = self._stages_of(sides)
        return made

    def _stages_of(self, sides: _Sides) -> Stages:
        side_of = dict(zip(self._divided, sides, strict=False))
        pins, answering, shadowing = {}, {}, {}
        for stage, slot in self._slots.items():
            side = side_of.get(stage, ServingRole.CHAMPION)
            if side is ServingRole.HOLDBACK and slot.holdback is not None:
                pins[stage] = _pin(stage, slot, slot.holdback.version, side)
            else:
                pins[stage] = _pin(stage, slot, slot.champion, ServingRole.CHAMPION)
            if slot.challenger is not None and side is ServingRole.CHALLENGER:
                answering[stage] = _pin(stage, slot, slot.challenger, side)
            elif slot.challenger is not None and side is ServingRole.SHADOW:
                shadowing[stage] = _pin(stage, slot, slot.challenger, side)
        stages = replace(self._pinned(self._champions, pins), pins=pins)
        if self._challengers is None or not (answering or shadowing):
            return stages
        trial = Trial(self._pinned(self._challengers, answering | shadowing), answering, shadowing)
        return replace(stages, trial=trial)

    def _pinned(self, stages: VersionedStages, pins: Mapping[str, Pin]) -> Stages:
        return stages.pinned({stage: pin.version for stage, pin in pins.items()}, self._revision)


def _side(slot: SlotTraffic, stage: str, unit: str) -> ServingRole:
    role, ref = assigned(slot, unit)
    if not _is_of(stage, ref):
        return ServingRole.CHAMPION
    shadowed = (
        role is ServingRole.CHAMPION
        and slot.challenger is not None
        and _is_of(stage, slot.challenger)
        and slot.shadow_bp > 0
        and bucket(slot.salt, unit) < slot.shadow_bp
    )
    return ServingRole.SHADOW if shadowed else role


def _pin(stage: str, slot: SlotTraffic, ref: ModelRef, role: ServingRole) -> Pin:
    return Pin(stage, ref.version, role, slot.holder, slot.weight_bp, slot.bundle)


def _is_of(stage: str, ref: ModelRef) -> bool:
    return ref.name == MODEL_NAMES[stage]
