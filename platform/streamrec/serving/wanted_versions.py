"""Which versions a replica loads: a pure rule of the traffic document, by the role that the replica has.

Whoever writes the document goes by it:

- A version that is tried is named as ``challenger`` of its slot, at first with ``weight_bp`` and
  ``shadow_bp`` 0: that alone wakes the slot's challenger replicas, and they load it. No champion replica
  does, whatever `prepare` says, so that one that eats memory or crashes dies alone.
- A version that is about to become champion (the last step of a rollout, a promotion without canary, a
  rollback) is named in ``prepare``, while the slot has no other challenger, none at all, or one that answers
  everybody (``weight_bp`` 10,000). Now the champion replicas load it beside what they have, and say so in
  their heartbeats; then a revision may name it as champion.
- A version that may be needed again at once (what a rollback goes back to) is named in ``prepare`` likewise.
"""

from __future__ import annotations

from streamrec.contracts.models import ModelRef
from streamrec.contracts.slots import ServingRole
from streamrec.contracts.traffic import Traffic
from streamrec.contracts.units import BASIS_POINTS


def wanted_versions(
    traffic: Traffic | None, slot: str, model_name: str, role: ServingRole
) -> tuple[ModelRef, ...]:
    """The versions that a replica is to have, in the order in which it loads them.

    Args:
        traffic: The document in force; None before the first.
        slot: Of the replica.
        model_name: Registered name of its model: which of the prepared versions are its own.
        role: `ServingRole.CHALLENGER` for a replica of challengers; `ServingRole.CHAMPION` for one that
            answers as champion and as holdback.

    Raises:
        ValueError: No replica has such a role.
    """
    if role not in (ServingRole.CHAMPION, ServingRole.CHALLENGER):
        raise ValueError(f"no replica is one of {role.value}s")
    if traffic is None:
        return ()
    named = traffic.slots.get(slot)
    if role is ServingRole.CHALLENGER:
        return () if named is None or named.challenger is None else (named.challenger,)
    wanted: list[ModelRef] = []
    on_trial: ModelRef | None = None
    if named is not None:
        wanted.append(named.champion)
        if named.holdback is not None:
            wanted.append(named.holdback.version)
        if named.weight_bp < BASIS_POINTS:
            on_trial = named.challenger
    wanted += [ref for ref in traffic.prepare if ref.name == model_name and ref != on_trial]
    return tuple(dict.fromkeys(wanted))
