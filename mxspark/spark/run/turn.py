"""Turns: of several trainings in one session each takes its slots once enough are free, in the order they asked.

A barrier stage takes its slots at once or not at all, and Spark says of one that waits only that it does. So a training
waits before its stage is begun, until it is the first in line and the slots are free, and leaves the line when its
workers have met: only then are the slots it saw free its own. Nobody holds slots while it waits for others, so no
number of trainings can block each other.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Callable, ClassVar, Optional

from mxspark.errors import ClusterError
from mxspark.errors.spelling import counted
from mxspark.spark.session import slots
from mxspark.spark.session.session import SessionFacts

POLL_S = 0.2


class Turn:
    """A place in the line of those who are about to take slots of a session; left with the ``with``.

    Parameters
    ----------
    limit_s : float
        Longest that slots are waited for which work of the user's holds. Trainings end by themselves and do not count.
    say : callable
        Told what is waited for, whenever it is something else.
    """

    _line: ClassVar[list[Turn]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, facts: SessionFacts, limit_s: float, say: Callable[[str], None]) -> None:
        self._facts = facts
        self._limit_s = limit_s
        self._say = say

    def __enter__(self) -> Turn:
        with self._lock:
            self._line.append(self)
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Let the next one look; may be called again."""
        with self._lock:
            if self in self._line:
                self._line.remove(self)

    def wait(self, workers: int, pause: Callable[[float], None]) -> None:
        """Return when it is this one's turn and there is a free slot for each worker.

        Parameters
        ----------
        pause : callable
            Waits so many seconds; what it raises ends the waiting.

        Raises
        ------
        ClusterError
            If others have held the slots for longer than the limit.
        """
        said, until = "", time.monotonic() + self._limit_s
        while (lack := self._lack(workers)) is not None:
            if lack.ends_by_itself:
                until = time.monotonic() + self._limit_s
            elif time.monotonic() > until:
                raise ClusterError(
                    f"cluster.num_workers is {workers}, but for {self._limit_s:g} s (failure.slots_s) {lack.what}; let "
                    "that end or cancel it, ask for more executors, or raise failure.slots_s"
                )
            if lack.what != said:
                said = lack.what
                self._say(f"waiting for {counted(workers, 'free slot')}: {said}")
            pause(POLL_S)

    def _lack(self, workers: int) -> Optional[slots.Lack]:
        with self._lock:
            first = self._line[0]
        if first is not self:
            return slots.Lack("another training of this process is about to take its own", ends_by_itself=True)
        return slots.lack(self._facts.spark, workers)
