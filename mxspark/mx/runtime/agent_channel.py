"""The worker's conversation with its agent: events out, a few orders in."""

from __future__ import annotations

import os
import threading
import time
from enum import Enum
from typing import Callable, Optional

from mxspark.errors import ClusterError, InternalError, MXSparkError
from mxspark.errors.phase import advance
from mxspark.protocol import commands, events
from mxspark.protocol.channel import Channel

_GONE = 4  # exit code when the agent is no longer there: nobody is left to report to
COMMIT_S = 900.0
FINISH_S = 600.0
LAST_S = 60.0
_POLL_S = 0.5


class Phase(Enum):
    """What the agent has asked of this worker."""

    TRAINING = "to train"
    ASKED = "to begin no other step before it is told the last"
    TOLD = "to end at a step"
    RELEASED = "to leave"


STEPS = {
    Phase.TRAINING: (Phase.ASKED, Phase.RELEASED),
    Phase.ASKED: (Phase.TOLD, Phase.RELEASED),
    Phase.TOLD: (Phase.RELEASED,),
    Phase.RELEASED: (),
}


class AgentChannel:
    """One end of the channel to the agent.

    Orders are taken by a thread, for the training loop may be blocked in a step that needs the other workers when it is
    asked how far it is. An agent that is gone ends the process: it owns us, and it can no longer kill us.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._change = threading.Condition()
        self._uncommitted: Optional[int] = None
        self._phase = Phase.TRAINING
        self._begun = 0
        self._last: Optional[int] = None
        self._error: Optional[MXSparkError] = None
        self._table: commands.Table = {
            commands.Committed: self._note_committed,
            commands.Finish: self._allow_finish,
            commands.EndEarly: self._answer_ready,
            commands.LastStep: self._note_last,
        }

    def send(self, event: events.Event) -> None:
        """Report a fact; with a staged checkpoint its commit is awaited before the next one."""
        if isinstance(event, events.Staged) and event.kind == "checkpoint":
            with self._change:
                self._uncommitted = event.step
        try:
            self._channel.send(events.to_wire(event))
        except OSError:
            os._exit(_GONE)

    def await_work(self, timeout_s: float) -> commands.Train:
        """Wait for the order to train."""
        try:
            order = self._channel.receive(timeout_s)
        except TimeoutError:
            raise ClusterError(
                f"the agent sent no work within {timeout_s:g} s: see its log; start the same command again"
            ) from None
        if order is None:
            os._exit(_GONE)
        work: list[commands.Train] = []
        commands.carry_out(order, "a worker that waits for work", {commands.Train: work.append})
        threading.Thread(target=self._listen, name="mxspark-orders", daemon=True).start()
        return work[0]

    def goes_on(self, begun: int) -> bool:
        """Tell whether to begin another step after `begun`; every rank gets the same answer for the same step.

        Once asked to end early, this worker waits here until it is known how far the others are.
        """
        with self._change:
            self._begun = begun
            if self._phase is Phase.ASKED:
                self._wait(lambda: self._last is not None, LAST_S, "the others did not say how far they are")
            if self._last is not None and begun >= self._last:
                return False
            self._begun = begun + 1
            return True

    def drain(self) -> None:
        """Raise what went wrong with an order."""
        if self._error is not None:
            raise self._error

    def wait_committed(self, beat: Callable[[], None]) -> None:
        """Wait until no staged checkpoint is uncommitted, calling `beat` now and then."""
        deadline = time.monotonic() + COMMIT_S
        while self._uncommitted is not None:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the checkpoint of step {self._uncommitted} was not committed within {COMMIT_S:g} s; "
                    "check the filesystem of job.dir, or checkpoint less often"
                )
            with self._change:
                self._change.wait_for(lambda: self._uncommitted is None or self._error, _POLL_S)
            self.drain()
            beat()

    def wait_finish(self) -> None:
        """Wait for leave to finish."""
        with self._change:
            self._wait(
                lambda: self._phase is Phase.RELEASED, FINISH_S, "no leave to finish came after the end of training"
            )

    def _wait(self, condition: Callable[[], object], limit_s: float, what: str) -> None:
        if not self._change.wait_for(lambda: condition() or self._error, limit_s):
            raise ClusterError(f"{what} within {limit_s:g} s; see the logs of the driver and of the other workers")
        self.drain()

    def _listen(self) -> None:
        """Take orders for as long as there is an agent."""
        while True:
            order = self._channel.receive()
            if order is None and self._phase is Phase.RELEASED:
                return
            if order is None:
                os._exit(_GONE)
            with self._change:
                try:
                    commands.carry_out(order, "a worker", self._table)
                except (InternalError, ValueError) as error:  # for the training to raise: this thread may not end it
                    self._error = error if isinstance(error, InternalError) else InternalError(str(error))
                self._change.notify_all()

    def _note_committed(self, command: commands.Committed) -> None:
        # a late word about an older checkpoint says nothing about this one
        if self._uncommitted is not None and command.step >= self._uncommitted:
            self._uncommitted = None

    def _allow_finish(self, _command: commands.Finish) -> None:
        self._step_to(Phase.RELEASED)

    def _answer_ready(self, _command: commands.EndEarly) -> None:
        if self._phase is Phase.TRAINING:
            self._step_to(Phase.ASKED)
            # At once and from this thread: the loop may be inside a step that others must take part in to end it.
            self.send(events.Ready(self._begun))

    def _note_last(self, command: commands.LastStep) -> None:
        if self._phase is Phase.ASKED:  # else it has leave to go already: all steps are done
            self._step_to(Phase.TOLD)
            self._last = command.step

    def _step_to(self, phase: Phase) -> None:
        self._phase = advance("a worker", self._phase, phase, STEPS)
