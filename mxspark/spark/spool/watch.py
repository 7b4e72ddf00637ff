"""A watch over the spool stage: Spark itself waits for ever for a Python process of its own that stands still."""

from __future__ import annotations

import os
import time
from typing import Callable, Optional

from pyspark import SparkContext

from mxspark.errors import MXSparkError
from mxspark.errors.cause import Cause
from mxspark.system import procfs
from mxspark.system.procfs import Stillness

LOOK_S = 1.0


class SpoolWatch:
    """Looks at what spools now and then.

    Parameters
    ----------
    group : str
        Spark's job group of the spool.
    jvm : int
        The driver's JVM; the processes of Spark that can be seen are those below it, in local runs all.
    hang_s : float
        A process that is stopped by a signal for so long ends the run; without progress for so long the user is warned.
    warn : callable
        Takes one line.
    """

    def __init__(
        self,
        context: SparkContext,
        group: str,
        jvm: int,
        hang_s: float,
        warn: Callable[[str], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._group = group
        self._jvm = jvm
        self._hang_s = hang_s
        self._warn = warn
        self._now = now
        self._still = Stillness(now)
        self._looked = now()
        self._moved = now()
        self._seen: Optional[tuple[int, ...]] = None

    def look(self) -> None:
        """Look, if the last time is a while ago.

        Raises
        ------
        ClusterError
            Naming a process that stands still.
        """
        if self._now() - self._looked < LOOK_S:
            return  # it is called in a loop, and reads all of /proc
        self._looked = self._now()
        # spark-submit's JVM is above this driver and its agent too
        for found in procfs.below(self._jvm, but=[os.getpid()]):
            if self._still.seconds(found.pid) > self._hang_s:
                raise self._stands_still(found.pid)
        self._look_for_progress()

    def _stands_still(self, pid: int) -> MXSparkError:
        words = (
            f"{procfs.command_line(pid)} was stopped by a signal for failure.hang_s = {self._hang_s:g} s while the "
            "rows were spooled"
        )
        return Cause.here("stopped", "spark", words, pid=pid, signal="SIGSTOP").as_error()

    def _look_for_progress(self) -> None:
        """Warn where no task has ended for long; it may be slow, and slow is not dead."""
        tracker = self._context.statusTracker()
        stages = [
            found
            for job in tracker.getJobIdsForGroup(self._group)
            if (info := tracker.getJobInfo(job)) is not None
            for stage in info.stageIds
            if (found := tracker.getStageInfo(stage)) is not None
        ]
        seen = tuple(stage.numCompletedTasks for stage in stages)
        if seen != self._seen:
            self._seen, self._moved = seen, self._now()
        elif self._now() - self._moved > self._hang_s:
            self._moved = self._now()  # said once each time it lasts so long
            running = sum(stage.numActiveTasks for stage in stages)
            where = f"; {self._context.uiWebUrl} shows what they do" if self._context.uiWebUrl else ""
            self._warn(
                f"warning: spooling: no task of Spark's has ended for {self._hang_s:g} s, {running} running{where}"
            )
