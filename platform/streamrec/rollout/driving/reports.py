"""What the controller of rollouts says: of one rollout as it is seen, and of one look at everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamrec.contracts.results import Reason
from streamrec.contracts.rollouts.evidence import RolloutEvidence
from streamrec.contracts.rollouts.state import RolloutState
from streamrec.rollout.aliases import AliasReverted
from streamrec.rollout.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Look:
    """One rollout as it is seen now. Looking changes nothing.

    Attributes:
        state: Where it stands, with what it waits for.
        evidence: What is known.
        analysis: What was found in it; None where it is over.
    """

    state: RolloutState
    evidence: RolloutEvidence
    analysis: Analysis | None


@dataclass(frozen=True, slots=True)
class TickReport:
    """What one look at everything came to.

    Attributes:
        leads: Whether this process drives; where it does not, nothing else is said.
        transitions: The states after each transition that was made.
        waiting: By rollout, why it does not go on.
        problems: What went wrong, in words; the next look tries again.
        revision: Of the traffic document in force; 0 where there is none, or it cannot be read.
        reverted: Aliases that were put back.
    """

    leads: bool
    transitions: tuple[RolloutState, ...] = ()
    waiting: dict[str, tuple[Reason, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    revision: int = 0
    reverted: tuple[AliasReverted, ...] = ()
