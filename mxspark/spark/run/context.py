"""What every part of a run needs to know, settled before any of them is made."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from mxspark.config.job_config import JobConfig
from mxspark.job.record import RunInfo, job_id
from mxspark.report.progress import Progress
from mxspark.spark.run.shutdown import Shutdown
from mxspark.spark.session import session
from mxspark.spark.session.session import SessionFacts


@dataclass(frozen=True)
class RunContext:
    """One run of a job.

    Attributes
    ----------
    job : JobConfig
        What it is to do.
    facts : SessionFacts
        The Spark session it runs in.
    run_id : str
        Names its folder in the job dir, its spools and its Spark jobs.
    scratch : Path
        Local folder of the run, removed when it has ended.
    display : Progress
        Where people see it.
    shutdown : Shutdown
        Whether it was told to end in good order.
    options : mapping
        What the job says of its training, by key (`options.of`).
    """

    job: JobConfig
    facts: SessionFacts
    run_id: str
    scratch: Path
    display: Progress
    shutdown: Shutdown
    options: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Return a folder of this run's scratch, for this user's eyes only; it is made if need be."""
        folder = self.scratch / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def run_info(self, path: str) -> RunInfo:
        """Return who this run is to those who look into the job dir `path`."""
        return run_info(self.run_id, path, self.job, session.application(self.facts))


def run_info(run_id: str, path: str, job: JobConfig, application: Optional[str] = None) -> RunInfo:
    """Say who a run is; its job is named by ``job.id``, by what schedules it, or by its folder and user."""
    user = getpass.getuser()
    identity = job.job.id or session.scheduled_id() or job_id(path, user)
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return RunInfo(run_id, identity, user, os.uname().nodename, os.getpid(), started, job.failure.lease_s, application)
