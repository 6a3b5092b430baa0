"""What somebody wants rolled out, checked before anything is written down."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamrec.contracts.errors import InvalidInputError, PermissionDeniedError
from streamrec.contracts.models import ModelRef
from streamrec.contracts.rollouts.state import MAXIMUM_MOVES, Move
from streamrec.contracts.slots import validate_slot_name
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.contracts.specification.rollout_plan import RolloutPlan
from streamrec.contracts.traffic import Traffic
from streamrec.governance.desk import Desk
from streamrec.governance.eligibility import Standing
from streamrec.registry.model_registry import ModelRegistry, ModelVersion
from streamrec.registry.signed_versions import publish_versions
from streamrec.rollout.outcomes import Outcomes
from streamrec.rollout.traffic_changes import champions

DEFAULT_SLOW_MS: Final = 1_000.0
"""For a version that was registered without a specification: whoever waits for longer has gone."""

_LONGEST_NAME: Final = 48


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be rolled out.

    Attributes:
        moves: One a slot.
        plan: By which.
    """

    moves: tuple[Move, ...]
    plan: RolloutPlan


@dataclass(frozen=True)
class SubmissionDesk:
    """Checks what is submitted.

    Attributes:
        registry: Which versions exist.
        desk: Which of them may serve.
        outcomes: Which metrics a rollout can be decided by.
        versions: Folder of the signed documents of versions.
        keys: Folder of the key that signs.
    """

    registry: ModelRegistry
    desk: Desk
    outcomes: Outcomes
    versions: Path
    keys: Path

    def submit(
        self,
        refs: Sequence[ModelRef],
        traffic: Traffic | None,
        *,
        plan: RolloutPlan | None = None,
        slot: str | None = None,
        glass_broken: bool = False,
    ) -> Submission:
        """Check versions, and publish what replicas have to know of them.

        Args:
            refs: Versions of different slots; those that depend on each other go together.
            traffic: What serves.
            plan: By which; that of the specifications where None.
            slot: Where a single version goes that was registered without a slot.
            glass_broken: Versions for which the glass was broken may go too, beside eligible ones.

        Raises:
            PermissionDeniedError: A version may not serve; says why, and the way back.
            NotFoundError: There is no such version.
            InvalidInputError: Two versions are of one slot, one has none or serves already, the
                specifications have different plans, or an outcome metric is none that can be compared.
            ArtifactError: An artifact is damaged.
            TemporaryError: The registry or the ledger does not answer.
        """
        if not 1 <= len(refs) <= MAXIMUM_MOVES:
            raise InvalidInputError("models", f"must be 1 to {MAXIMUM_MOVES} versions")
        versions = self._by_slot(refs, slot)
        serving = champions(traffic)
        moves = []
        for name, version in versions.items():
            if serving.get(name) == version.ref:
                raise InvalidInputError(
                    "models", f"{version.ref} serves {name} already: nothing is to be rolled out"
                )
            self._check_eligible(version.ref, glass_broken)
            moves.append(self._move(name, version, serving.get(name)))
        chosen = plan if plan is not None else _plan_of(versions.values())
        for version in versions.values():
            publish_versions(self.registry, version.ref, self.versions, self.keys)
        return Submission(tuple(moves), chosen)

    def _by_slot(self, refs: Sequence[ModelRef], slot: str | None) -> dict[str, ModelVersion]:
        if slot is not None:
            validate_slot_name(slot)
            if len(refs) != 1:
                raise InvalidInputError("slot", "can be named for a single version only")
        versions: dict[str, ModelVersion] = {}
        for ref in refs:
            version = self.registry.get(ref)
            if slot is not None and version.slot is not None and version.slot != slot:
                raise InvalidInputError("slot", f"{ref} was registered for {version.slot}")
            name = version.slot or slot
            if name is None:
                raise InvalidInputError("slot", f"{ref} was registered without a slot: name one")
            if name in versions:
                raise InvalidInputError(
                    "models", f"{versions[name].ref} and {ref} are both of the slot {name}"
                )
            versions[name] = version
        return versions

    def _check_eligible(self, ref: ModelRef, glass_broken: bool) -> None:
        found = self.desk.eligibility(ref)
        if found.eligible or (glass_broken and found.standing is Standing.BREAK_GLASS):
            return
        raise PermissionDeniedError(
            f"{ref} may not be rolled out, it is {found.standing}: {found.in_short}. Next: {found.way_back}"
        )

    def _move(self, slot: str, version: ModelVersion, champion: ModelRef | None) -> Move:
        specification = _specification(version)
        if specification is None:
            return Move(slot, version.ref, champion, None, DEFAULT_SLOW_MS)
        metric = specification.outcome_metric
        if metric is not None:
            self.outcomes.check(metric)
        return Move(slot, version.ref, champion, metric, specification.latency.p99_ms)


def _specification(version: ModelVersion) -> ModelSpecification | None:
    return None if version.specification is None else ModelSpecification.from_json(version.specification)


def _plan_of(versions: Collection[ModelVersion]) -> RolloutPlan:
    plans = {
        str(version.ref): RolloutPlan() if found is None else found.rollout
        for version in versions
        for found in (_specification(version),)
    }
    first = next(iter(plans.values()))
    if any(plan != first for plan in plans.values()):
        raise InvalidInputError(
            "plan", f"{', '.join(plans)} were registered with different plans: name the one that counts"
        )
    return first


def new_name(refs: Sequence[ModelRef]) -> str:
    """A name for a rollout of these versions, never used before."""
    first = refs[0]
    return f"{first.name[:_LONGEST_NAME]}-{first.version}-{secrets.token_hex(3)}"


def new_salt() -> str:
    """A salt for a rollout: other units come first each time."""
    return secrets.token_hex(8)
