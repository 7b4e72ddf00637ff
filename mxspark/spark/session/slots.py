"""Slots: how many tasks the session's executors can run at once, now and at most."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from pyspark import SparkContext
from pyspark.sql import SparkSession

from mxspark.errors import ClusterError
from mxspark.errors.spelling import counted
from mxspark.spark.session.session import SessionFacts

_POLL_S = 0.2
OURS = "mxspark "
"""How the descriptions of all Spark jobs of this package begin."""


@dataclass(frozen=True)
class Lack:
    """Why there are not enough free slots.

    Attributes
    ----------
    what : str
        In words.
    ends_by_itself : bool
        Whether trainings alone are in the way: they have deadlines of their own.
    """

    what: str
    ends_by_itself: bool


def wait_for(session: SessionFacts, workers: int, limit_s: float) -> None:
    """Return when the application has a slot for each worker.

    Raises
    ------
    ClusterError
        If they can never come, or have not come within `limit_s` seconds.
    """
    most = _most(session.master, session.task_cpus)
    if most is not None and most < workers:
        raise ClusterError(
            f"cluster.num_workers is {workers}, but the master {session.master!r} never has more than "
            f"{counted(most, 'slot')} (spark.task.cpus={session.task_cpus}); lower cluster.num_workers or start "
            f"Spark with --master local[{workers}]"
        )
    deadline = time.monotonic() + limit_s
    while True:
        have = _now(session.spark)
        if have >= workers:
            return
        # asked last: a context that is being stopped may still count executors
        if is_stopped(session.spark.sparkContext):
            raise ClusterError(
                "the Spark session was stopped, so that no slots can come (on YARN: the application was killed, or its "
                "master is gone for good); start another"
            )
        if time.monotonic() > deadline:
            raise ClusterError(
                f"cluster.num_workers is {workers}, but after {limit_s:g} s (failure.start_s) Spark has "
                f"{counted(have, 'slot')}; ask for more executors (--num-executors, --executor-cores) or lower "
                "cluster.num_workers"
            )
        time.sleep(_POLL_S)


def settle_for(session: SessionFacts, wanted: int, fewest: int, limit_s: float) -> int:
    """Return how many workers to go on with after a loss: `wanted`, or what there is in the end, at least `fewest`.

    Raises
    ------
    ClusterError
        If there are fewer slots than that after `limit_s` seconds.
    """
    try:
        wait_for(session, wanted, limit_s)
    except ClusterError:
        # counted anew: some may have come at the last moment, and a smaller gang is better than none
        have = _now(session.spark)
        if have < fewest:
            raise
        return min(have, wanted)
    return wanted


def lack(spark: SparkSession, workers: int) -> Optional[Lack]:
    """Return who holds the slots that are missing, None where enough are free."""
    have, taken = _now(spark), _taken(spark)
    if have - taken >= workers:
        return None
    holders = sorted(_stages(spark))
    names = ", ".join(f"'{name}' ({counted(tasks, 'task')})" for name, tasks in holders)
    free = max(0, have - taken)
    return Lack(
        f"{free} of {have} are free, Spark is running {names or counted(taken, 'task')}",
        ends_by_itself=bool(holders) and all(name.startswith(OURS) for name, _ in holders),
    )


def _most(master: str, task_cpus: int) -> Optional[int]:
    """Return the slots a master string can give at most, None where only the cluster knows."""
    local = re.fullmatch(r"local(?:\[\s*([0-9]+|\*)\s*(?:,\s*[0-9]+\s*)?\])?", master)
    if local:
        cores = {None: 1, "*": os.cpu_count() or 1}.get(local.group(1)) or int(local.group(1))
        return cores // task_cpus
    small = re.fullmatch(r"local-cluster\[\s*([0-9]+)\s*,\s*([0-9]+)\s*,.*\]", master)
    if small:
        return int(small.group(1)) * (int(small.group(2)) // task_cpus)
    return None


def is_stopped(context: SparkContext) -> bool:
    """Tell whether somebody, YARN perhaps, has stopped a context; of a DataFrame that is the one it was made in."""
    java: Any = context._jsc
    return java is None or bool(java.sc().isStopped())


def _now(spark: SparkSession) -> int:
    """Return how many tasks the registered executors can run at once."""
    context: Any = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    return int(context.maxNumConcurrentTasks(profile))


def _taken(spark: SparkSession) -> int:
    """Return how many tasks run, as the scheduler counts them: what Spark's UI shows comes later."""
    scheduler: Any = spark.sparkContext._jsc.sc().taskScheduler()
    counts = scheduler.runningTasksByExecutors().valuesIterator()
    total = 0
    while counts.hasNext():
        total += int(counts.next())
    return total


def _stages(spark: SparkSession) -> Iterator[tuple[str, int]]:
    """Yield the description of each stage that runs, or where it was called, and how many tasks it has."""
    stages: Any = spark.sparkContext._jsc.sc().statusStore().activeStages()
    for place in range(int(stages.size())):
        stage = stages.apply(place)
        tasks = int(stage.numActiveTasks())
        if tasks:
            description = stage.description()
            yield str(description.get() if description.isDefined() else stage.name()), tasks
