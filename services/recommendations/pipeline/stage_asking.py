"""Whom a request asks in each stage: the challenger that it is assigned to, the champion if that fails."""

from __future__ import annotations

from services.recommendations.contracts.candidates import Candidates
from services.recommendations.contracts.stages import StageReply
from services.recommendations.pipeline.stage_calls import StageCalls, StageRequest, StageSkippedError
from services.recommendations.pipeline.trace import AskedVersion, StageCall, ToShadow, Trace
from services.recommendations.pipeline.trials import Trials
from streamrec.contracts.slots import ServingRole
from streamrec.serving.counting.served_counts import AskedOutcome
from streamrec.serving.deadline import Deadline


class StageAsking:
    """Asks, and notes down in the trace who was asked and what came of it."""

    def __init__(self, calls: StageCalls, trials: Trials | None = None) -> None:
        """Compose it.

        Args:
            calls: How champions are called.
            trials: How challengers are; None: they are not.
        """
        self._calls, self._trials = calls, trials

    async def ask(self, asked: StageCall, trace: Trace, deadline: Deadline) -> Candidates:
        """Return a checked answer.

        Raises:
            StageSkippedError: Nobody gave one, or the request has to begin again, which the trace then says.
        """
        stage = asked.stage
        started_ms = deadline.elapsed_ms()
        try:
            instead = stage in trace.left
            challenger = trace.challenger(stage)
            if challenger is not None and self._trials is not None:
                reply = await self._trials.reply(asked, challenger, trace, deadline)
                if reply is not None:
                    return _taken(asked, reply, challenger.role, trace)
                instead = True
                if trace.begins_again:
                    raise StageSkippedError(f"{stage}: the request begins again")
            return await self._champion(asked, trace, deadline, instead=instead)
        finally:
            spent_ms = deadline.elapsed_ms() - started_ms
            trace.stages_ms[stage] = trace.stages_ms.get(stage, 0.0) + spent_ms

    async def ask_or_none(self, asked: StageCall, trace: Trace, deadline: Deadline) -> Candidates | None:
        """The same, with None where there is no answer."""
        try:
            return await self.ask(asked, trace, deadline)
        except StageSkippedError:
            return None

    async def _champion(
        self, asked: StageCall, trace: Trace, deadline: Deadline, *, instead: bool
    ) -> Candidates:
        stage, stages = asked.stage, trace.stages
        pin = stages.pins.get(stage)
        request = StageRequest(stage, lambda: asked.call(stages), asked.check)
        started_ms = deadline.elapsed_ms()
        try:
            reply = await self._calls(request, deadline)
        except StageSkippedError as error:
            waited_ms = deadline.elapsed_ms() - started_ms
            trace.asked.append(AskedVersion(stage, pin, None, error.outcome, waited_ms, instead=instead))
            trace.skipped.append(stage)
            if error.failed:
                trace.failed.append(stage)
            if error.late:
                trace.in_vain_ms += waited_ms
            raise
        waited_ms = deadline.elapsed_ms() - started_ms
        answered = AskedOutcome.ANSWERED
        trace.asked.append(
            AskedVersion(stage, pin, reply.version, answered, waited_ms, reply.model_ms, instead)
        )
        return _taken(asked, reply, ServingRole.CHAMPION if pin is None else pin.role, trace)


def _taken(asked: StageCall, reply: StageReply, role: ServingRole, trace: Trace) -> Candidates:
    """Take the answer into the slate; a shadow is asked beside a champion once the request is done."""
    trace.answered(asked.stage, reply, role)
    trial = trace.stages.trial
    if trial is not None and role is ServingRole.CHAMPION and asked.stage in trial.shadowing:
        pin = trial.shadowing[asked.stage]
        trace.shadows.append(ToShadow(asked, pin, trial.stages, reply.candidates.item_ids))
    return reply.candidates
