"""All that can be found out before anything is submitted to Spark."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import Optional

from pyspark.sql import DataFrame

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.errors import InputError, JobDirError
from mxspark.job import fixed
from mxspark.job.record import Fresh, JobRecord, differences, with_known_shapes
from mxspark.jobdir import fixed_file, layout, record_file
from mxspark.jobdir.ownership import Claim
from mxspark.spark.hadoop.storage import HadoopStorage
from mxspark.spark.run import memory, starting_over
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.spooled import Frames
from mxspark.spark.session import slots
from mxspark.spark.session.call import SparkCall
from mxspark.spark.spool import inputs
from mxspark.spark.spool.waiting import SlotWait
from mxspark.storage import open_storage
from mxspark.storage.base import Storage

log = logging.getLogger(__name__)

EARLIER_DEFAULT = "runs/job"


@dataclass(frozen=True)
class Checked:
    """What the checks have found.

    Attributes
    ----------
    frames : Frames
        The data.
    storage, path
        The job dir.
    claim : Claim
        On it.
    fresh : Fresh or None
        The wish to start over there.
    recorded : JobRecord or None
        Of the job that may be gone on with.
    warnings : tuple of str
        What was shown and belongs in the result.
    """

    frames: Frames
    storage: Storage
    path: str
    claim: Claim
    fresh: Optional[Fresh]
    recorded: Optional[JobRecord]
    warnings: tuple[str, ...]


def check(context: RunContext, given: Frames) -> Checked:
    """Check a run, cheapest first: the user's input, then the job dir, then what the cluster has for it.

    Parameters
    ----------
    given : Frames
        What the caller of ``train`` gave; what is None is read from where the configuration says.
    """
    job, facts = context.job, context.facts
    display = context.display
    unread: list[InputError] = []
    frames = _read(context, given, unread)
    inputs.check(job, frames.training, frames.validation, unread)
    storage = open_storage(job.job_dir, lambda: HadoopStorage(facts.spark), local_run=facts.one_machine)
    fresh = starting_over.wish(job, facts, context.options)
    path = layout.preflight(storage, job.job_dir, None if fresh else resolve.settings(job))
    if fresh is None:
        fixed_file.compare(storage, path, fixed.options_of_loss(job.training))
    # whoever is at work there is waited for, or refused, before rows are spooled and slots are taken for nothing
    claim = Claim(storage, path, context.run_info(path), job.job.take_over, say=display.phase)
    claim.wait_until_free()
    slots.wait_for(facts, job.cluster.num_workers, job.failure.start_s)
    recorded = starting_over.recorded(storage, path, fresh)
    has_validation = frames.validation is not None
    warnings = [*resolve.unsaid(job, has_validation), *resolve.given_away(job), *resolve.keeps_nothing(job)]
    warnings += inputs.warnings(job, given.training, given.validation)
    if fresh is None and recorded is None:
        warnings += _in_earlier_default(job, storage, path)
    for line in [*memory.warnings(facts, job), *warnings]:
        display.phase(f"warning: {line}")
    if job.transport.mode == "tcp":
        log.warning(
            "transport.mode is tcp: ps-lite's ports are neither authenticated nor encrypted; whoever reaches %s "
            "can read and change the training, so use it on a trusted network only",
            facts.driver_host,
        )
    return Checked(frames, storage, path, claim, fresh, recorded, tuple(warnings))


def _in_earlier_default(job: JobConfig, storage: Storage, path: str) -> list[str]:
    """Return that this job is in the folder which versions before took for every job without ``job.dir``."""
    if job.job.dir is not None:
        return []
    old = storage.qualify(EARLIER_DEFAULT)
    with contextlib.suppress(JobDirError):  # nothing that can be read is there
        before = record_file.read(storage, old)
        settings = resolve.settings(job)
        if before is not None and not differences(before.settings, with_known_shapes(settings, before.settings)):
            return [
                f"{old}, where earlier versions kept every job without job.dir, holds this job, and this run begins "
                f"anew in {path}; to go on with what is there stop it and set job.dir: {EARLIER_DEFAULT}"
            ]
    return []


def _read(context: RunContext, given: Frames, unread: list[InputError]) -> Frames:
    job = context.job
    training, validation = given.training, given.validation
    if training is None:
        training = _opened(context, "data.path", unread)
    if validation is None and job.data.validation.path is not None:
        validation = _opened(context, "data.validation.path", unread)
    if validation is not None and job.data.validation.fraction:
        raise InputError(
            f"validation rows are given, and data.validation.fraction is {job.data.validation.fraction} too; remove "
            "one: a job has one kind of validation data"
        )
    return Frames(training, validation)


def _opened(context: RunContext, key: str, unread: list[InputError]) -> Optional[DataFrame]:
    """Open what a key names; a job of Spark's looks at the files for their columns, and may have to wait for a slot."""
    job, spark = context.job, context.facts.spark
    group = f"mxspark-{context.run_id}-{key}"
    wait = SlotWait(spark, group, context.display.phase, "checking")
    description = f"mxspark {job.job.name}: columns of {key}"
    call = SparkCall(spark.sparkContext, group, description, lambda: inputs.opened(spark, job, key, unread))
    return call.result(wait.look)
