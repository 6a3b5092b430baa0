"""What is noted down while a request passes through the pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.contracts.stages import Pin, StageReply, Stages
from streamrec.contracts.slots import ServingRole
from streamrec.serving.counting.served_counts import AskedOutcome
from streamrec.serving.turns import Turn


@dataclass(frozen=True, slots=True)
class StageCall:
    """What a request wants of a stage, whichever version answers.

    Attributes:
        stage: Its name.
        call: Makes one attempt over the stages that it is given.
        check: Raises `UnusableAnswerError` for an answer that must not be used.
    """

    stage: str
    call: Callable[[Stages], Awaitable[StageReply]]
    check: Callable[[Candidates], None]


@dataclass(frozen=True, slots=True)
class AskedVersion:
    """One version that was asked, and what came of it.

    Attributes:
        stage: Which.
        pin: Who was asked; None where no traffic document says.
        version: Registered version that answered; None where none did.
        outcome: What came of it.
        waited_ms: For how long it was waited for.
        model_ms: The model's own time; 0 where it did not answer.
        instead: Whether it was asked in the place of a challenger that gave no answer: the unit is not one of
            those that it is to answer.
    """

    stage: str
    pin: Pin | None
    version: int | None
    outcome: AskedOutcome
    waited_ms: float
    model_ms: float = 0.0
    instead: bool = False

    @property
    def role(self) -> ServingRole:
        """In which role it was asked."""
        return ServingRole.CHAMPION if self.pin is None else self.pin.role


@dataclass(frozen=True, slots=True)
class ToShadow:
    """An answer beside which a challenger is to be asked, once the request is done."""

    asked: StageCall
    pin: Pin
    stages: Stages
    answered: tuple[str, ...]


@dataclass(slots=True)
class Trace:
    """One passage of a request through the stages, and who was asked on all of its passages.

    Attributes:
        stages: As the request sees them.
        turn: What the request holds while it computes.
        asked: Who was asked, passages before this one included.
        left: Stages whose challengers are not asked any more.
        begins_again: Whether the request has to begin again, without the challengers of ``left``.
    """

    stages: Stages
    turn: Turn
    asked: list[AskedVersion] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    begins_again: bool = False
    versions: dict[str, int] = field(default_factory=dict)
    roles: dict[str, ServingRole] = field(default_factory=dict)
    stages_ms: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    in_vain_ms: float = 0.0
    price_revision: int | None = None
    item_revisions: dict[str, int] = field(default_factory=dict)
    in_full: bool = True
    shadows: list[ToShadow] = field(default_factory=list)

    def again(self) -> Trace:
        """The trace of another passage of the same request; who is asked again is counted once."""
        given_up = [
            note for note in self.asked if note.role is ServingRole.CHALLENGER and note.stage in self.left
        ]
        return Trace(
            self.stages,
            self.turn,
            given_up,
            self.left,
            stages_ms=self.stages_ms,
            in_vain_ms=self.in_vain_ms,
        )

    def challenger(self, stage: str) -> Pin | None:
        """The challenger that is to answer, unless it, or one that belongs to it, has been given up."""
        trial = self.stages.trial
        return None if trial is None or stage in self.left else trial.answering.get(stage)

    def give_up(self, pin: Pin) -> None:
        """Ask this challenger no more, nor those of its bundle; begin again where one of them has answered.

        Nobody is answered by some of a bundle's challengers and some of its champions.
        """
        trial = self.stages.trial
        if trial is None:
            return
        together = {pin.stage}
        if pin.bundle is not None:
            together |= {stage for stage, other in trial.answering.items() if other.bundle == pin.bundle}
        self.left |= together
        others = together - {pin.stage}
        self.begins_again = self.begins_again or any(
            self.roles.get(stage) is ServingRole.CHALLENGER for stage in others
        )

    def answered(self, stage: str, reply: StageReply, role: ServingRole) -> None:
        """Take note of the answer that goes into the slate."""
        self.versions[stage] = reply.version
        self.roles[stage] = role
        self.item_revisions[stage] = reply.item_revision
        self.in_full = self.in_full and reply.in_full
        if reply.price_revision:  # 0 are the model's own prices, which its version says
            self.price_revision = reply.price_revision
        trial = self.stages.trial
        if role is ServingRole.CHALLENGER and trial is not None:
            # One of its bundle may have been given up while this one was under way.
            pin = trial.answering[stage]
            self.begins_again = self.begins_again or (pin.bundle is not None and stage in self.left)
