"""Reading that has no slot yet: Spark says nothing of a stage that waits, and the user would see a run stand still."""

from __future__ import annotations

import time
from typing import Callable

from pyspark.sql import SparkSession

from mxspark.spark.session import slots

SAY_S = 3.0
"""So long no task may run before it is said: one that ends soon is no news."""


class SlotWait:
    """Says who holds the slots that the tasks of a group wait for.

    Parameters
    ----------
    group : str
        Spark's job group.
    say : callable
        Takes one line, whenever it is another one.
    doing : str
        What is done with a slot, in a word.
    """

    def __init__(
        self,
        spark: SparkSession,
        group: str,
        say: Callable[[str], None],
        doing: str,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spark = spark
        self._group = group
        self._say = say
        self._doing = doing
        self._now = now
        self._looked = now()
        self._ran = now()
        self._said = ""

    def look(self) -> None:
        """Look, if the last time is a while ago."""
        if self._now() - self._looked < 1.0:
            return  # it is called in a loop, and each look is many calls of the JVM
        self._looked = self._now()
        if not self._waits():
            self._ran = self._now()
            if self._said:
                self._said = ""
                self._say(self._doing)
            return
        lack = slots.lack(self._spark, 1) if self._now() - self._ran >= SAY_S else None
        if lack is not None and lack.what != self._said:
            self._said = lack.what
            self._say(f"{self._doing} waits for a free slot: {lack.what}")

    def _waits(self) -> bool:
        """Tell whether a stage of the group is there, and no task of it runs."""
        tracker = self._spark.sparkContext.statusTracker()
        infos = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._group)]
        # of all jobs: one that has ended has none that wait
        ids = [stage for info in infos if info is not None and info.status == "RUNNING" for stage in info.stageIds]
        stages = [found for stage in ids if (found := tracker.getStageInfo(stage)) is not None]
        left = any(stage.numCompletedTasks < stage.numTasks for stage in stages)
        return left and not any(stage.numActiveTasks for stage in stages)
