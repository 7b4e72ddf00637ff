"""How far a run has come, worked out from what is reported. Pure but for its clock."""

from __future__ import annotations

import time
from typing import Callable, Optional

from mxspark.errors.cause import Cause
from mxspark.errors.restart import STOP, Failed, Next
from mxspark.job.spec import Restore
from mxspark.protocol.events import Beat, Done, EpochEnd, Raised, Reported, RoleEnded, Staged, Started
from mxspark.result import FailedAttempt
from mxspark.spark.run.downtime import Downtime


class Standing:
    """Steps, epochs and checkpoints of a run, and the attempts that failed on the way.

    Attributes
    ----------
    step : int
        The last step of the job that is done.
    history : list of EpochEnd
        Of this run; epochs that a restart does once more are in it once.
    checkpoint : str or None
        Path of the newest committed one.
    parameters : int or None
        How many values are trained, once that is known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.step = 0
        self.history: list[EpochEnd] = []
        self.checkpoint: Optional[str] = None
        self.parameters: Optional[int] = None
        self._restored: Optional[Restore] = None  # where the attempt that is made now began
        self._has_progressed = False  # since then
        self._failed: list[Failed] = []  # of this run alone
        self._downtime = Downtime(clock)

    @property
    def epochs(self) -> int:
        """How many epochs of the job are done."""
        if self.history:
            return self.history[-1].epoch + 1
        return self._restored.epoch if self._restored is not None else 0

    @property
    def failed_attempts(self) -> tuple[FailedAttempt, ...]:
        """All about the attempts that failed."""
        return tuple(self._downtime.attempts)

    def note_earlier(self, attempts: tuple[FailedAttempt, ...]) -> None:
        """Take the ends of earlier drivers into the account, of which this run has lost no second."""
        self._downtime.attempts[:0] = attempts

    def note(self, reported: Reported) -> None:
        """Take one event."""
        event = reported.event
        if isinstance(event, Started):
            self.parameters = event.parameters
        elif isinstance(event, EpochEnd) and reported.rank == 0:  # every rank reports the same figures
            self.history.append(event)
            self.step = event.step
        elif isinstance(event, (Beat, Done)):
            # ranks are a step apart, and a beat may come after that of a faster one
            self.step = max(self.step, event.step)
            self._downtime.note_step()
        elif isinstance(event, Staged):
            self.step = max(self.step, event.step)
        elif isinstance(event, Raised) or (isinstance(event, RoleEnded) and not event.expected):
            # long before the attempt is over: agents still end the other roles, and collect their logs
            self._downtime.note_trouble()

    def note_checkpoint(self, path: str, at: float) -> None:
        """What was staged at `at` (on the monotonic clock) is committed as `path`."""
        self.checkpoint = path
        self._has_progressed = True
        self._downtime.note_checkpoint(at)

    def begin_at(self, restore: Optional[Restore]) -> None:
        """Let an attempt begin at a checkpoint, or at the beginning: what came after that is to be done again."""
        self._restored = restore
        self._has_progressed = False
        self.step = restore.step if restore is not None else 0
        self.history = [epoch for epoch in self.history if restore is not None and epoch.epoch < restore.epoch]

    def fail(self, cause: Cause, number: int, workers: int, is_whole: bool) -> tuple[Failed, ...]:
        """Note that attempt `number` failed, and return all that did, as they count for what comes next."""
        self._downtime.note_failure(number, workers, cause, self.step)
        began = self._restored.step if self._restored is not None else 0
        self._failed.append(Failed(cause, began, self._has_progressed, is_whole))
        return tuple(self._failed)

    def follow(self, step: Next, restore: Optional[Restore]) -> FailedAttempt:
        """Note what follows the attempt that failed last, and return all about that one."""
        attempt = self._downtime.note_decision(step, restore.step if restore is not None else 0)
        if step.action != STOP:  # the result of a run that stops says how far it had come
            self.begin_at(restore)
        return attempt
