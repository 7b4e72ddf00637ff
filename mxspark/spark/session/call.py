"""A Spark job in its own thread, so that the main thread can wait on an event and be interrupted.

Waiting on an event while the job runs in an ``InheritableThread`` with a job group is the arrangement in which Ctrl-C
cancels the job in a script, in the pyspark shell and in Jupyter alike.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Generic, Optional, TypeVar

from pyspark import InheritableThread, SparkContext

T = TypeVar("T")
_CANCEL_S = 10.0
_POLL_S = 0.2


class SparkCall(Generic[T]):
    """One Spark action that can be waited for and cancelled."""

    def __init__(self, context: SparkContext, group: str, description: str, action: Callable[[], T]) -> None:
        self._context = context
        self._group = group
        self._description = description
        self._action = action
        self._value: Optional[T] = None
        self._error: Optional[BaseException] = None
        self.done = threading.Event()
        # daemon: a call that the JVM never answers must not keep this process from ending
        self._thread: Any = InheritableThread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            # in this thread: pyspark pins one of the JVM's to it, and a group holds for the jobs of that one only, so
            # that to cancel it cancels nothing of the user's
            self._context.setJobGroup(self._group, self._description, interruptOnCancel=True)
            self._value = self._action()
        except BaseException as error:
            self._error = error  # for whoever waits; raised here it would be printed, and lost
        finally:
            self.done.set()

    def result(self, look: Callable[[], None] = lambda: None) -> T:
        """Wait for the action, interruptibly, and return its value or raise its error.

        `look` is called several times a second; what it raises cancels the action.
        """
        try:
            while not self.done.wait(_POLL_S):
                look()
        except BaseException:
            # bounded: what ended the wait may be that the JVM does not answer
            self.cancel(_CANCEL_S)
            raise
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def error(self) -> Optional[BaseException]:
        """Return what the action raised, None while it runs and after success."""
        return self._error if self.done.is_set() else None

    def cancel(self, limit_s: float) -> bool:
        """Cancel the job group and wait; True if the action ended within `limit_s` seconds.

        A query is planned before it is a job, and may be several: each is cancelled as it comes. Where none runs there
        is nothing to cancel, which Spark would warn of.
        """
        deadline = time.monotonic() + limit_s
        cancelled: set[int] = set()
        while not self.done.is_set():
            if new := self._running() - cancelled:
                cancelled |= new
                self._context.cancelJobGroup(self._group)
            left_s = deadline - time.monotonic()
            if self.done.wait(max(0.0, min(_POLL_S, left_s))) or left_s <= 0:
                break
        return self.done.is_set()

    def _running(self) -> set[int]:
        tracker = self._context.statusTracker()
        jobs = {job: tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._group)}
        return {job for job, info in jobs.items() if info is not None and info.status == "RUNNING"}
