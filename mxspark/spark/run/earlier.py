"""Drivers of the same application that ended before this one: YARN starts one in a cluster again, and it resumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from mxspark.errors import MXSparkError
from mxspark.errors.cause import Cause
from mxspark.errors.restart import APPLICATION
from mxspark.job.record import RunInfo
from mxspark.jobdir import ownership, run_folder
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.run_folder import End
from mxspark.result import SUCCEEDED, FailedAttempt

_WHY = "YARN starts a driver again that has ended (spark.yarn.maxAppAttempts)"


def attempts(owned: JobDir, workers: int, resumed: int) -> tuple[FailedAttempt, ...]:
    """Return what came of the earlier drivers of this application, the first one first.

    Parameters
    ----------
    workers : int
        How many each had; the same command has started them all.
    resumed : int
        Step at which this one goes on.
    """
    ends = [(run, run_folder.read_end(owned, run.run_id)) for run in _runs(owned)]
    # one that succeeded may be started again, too, where its master is lost in the very end
    return tuple(
        FailedAttempt(0, workers, _cause(run, end), end.steps if end else resumed, resumed, APPLICATION, _WHY)
        for run, end in reversed(ends)
        if end is None or end.status != SUCCEEDED
    )


def _runs(owned: JobDir) -> Iterator[RunInfo]:
    """Yield the runs of earlier drivers, the last one first; that of anybody else is where they begin."""
    for term in range(owned.term - 1, 0, -1) if owned.run.application is not None else ():
        try:
            run = ownership.read_owner(owned.storage, owned.path, term)
        except (OSError, MXSparkError):
            return  # a storage that does not answer now ends no run
        if run is None or run.application != owned.run.application:
            return
        yield run


def _cause(run: RunInfo, end: Optional[End]) -> Cause:
    if end is None:
        words = f"it ended without a word (run {run.run_id}): it was killed, or its container or host is gone"
        return Cause("killed", "driver", 0, run.host, run.pid, words)
    return end.cause or Cause("interrupted", "driver", 0, run.host, run.pid, end.message)
