"""The attempts of a run that failed, and what each cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Optional

from mxspark.errors.cause import Cause
from mxspark.errors.restart import Next
from mxspark.result import FailedAttempt


class Downtime:
    """Keeps the account: every second of the run either counts or is lost to exactly one failure.

    Parameters
    ----------
    clock : callable
        Returns seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept_at = clock()  # what was done before need not be done again
        self._failed_at: Optional[float] = None
        self._open: Optional[tuple[float, float]] = None  # when the last failure was seen, and what it went back to
        self.attempts: list[FailedAttempt] = []

    def note_checkpoint(self, at: float) -> None:
        """What was done until `at` is in a committed checkpoint."""
        self._kept_at = at

    def note_trouble(self) -> None:
        """Something failed; what follows is the end of the attempt."""
        if self._failed_at is None:
            self._failed_at = self._clock()

    def note_failure(self, number: int, workers: int, cause: Cause, reached: int) -> None:
        """The attempt is over."""
        self.note_trouble()
        assert self._failed_at is not None
        if self._open is not None:  # this attempt did not come to a step
            self._close(self._failed_at)
            self._kept_at = self._failed_at
        self.attempts.append(FailedAttempt(number, workers, cause, reached, 0, "", ""))
        # a checkpoint may be put in hand while what has failed is still ending: it keeps no work of after the failure
        self._open = (self._failed_at, min(self._kept_at, self._failed_at))
        self._failed_at = None

    def note_decision(self, step: Next, resumed: int) -> FailedAttempt:
        """Note what follows, and return all that is known of the attempt that failed last."""
        self.attempts[-1] = replace(self.attempts[-1], how=step.action, reason=step.reason, resumed=resumed)
        return self.attempts[-1]

    def note_step(self) -> None:
        """A step was made: seconds count again."""
        if self._open is not None:
            self._kept_at = self._clock()
            self._close(self._kept_at)

    def _close(self, until: float) -> None:
        if self._open is not None:
            failed_at, kept_at = self._open
            down_s = round(until - failed_at, 3)
            lost_s = round(until - kept_at, 3)
            self.attempts[-1] = replace(self.attempts[-1], down_s=down_s, lost_s=lost_s)
            self._open = None
