"""All that can be found out before anything is submitted to Spark."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Optional

from mxspark.config import resolve
from mxspark.errors import InputError
from mxspark.job import fixed
from mxspark.jobdir import fixed_file, layout
from mxspark.jobdir.fresh import is_begun
from mxspark.jobdir.layout import Fresh
from mxspark.jobdir.ownership import Claim
from mxspark.spark.hadoop.storage import HadoopStorage
from mxspark.spark.run import memory
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.spooled import Frames
from mxspark.spark.session import session, slots
from mxspark.spark.spool import inputs
from mxspark.storage import open_storage
from mxspark.storage.base import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """What the checks have found: the data, the job dir, the claim on it, and whether to start over there."""

    frames: Frames
    storage: Storage
    path: str
    claim: Claim
    fresh: Optional[Fresh]


def check(context: RunContext, given: Frames) -> Checked:
    """Check a run, cheapest first: the user's input, then the job dir, then what the cluster has for it.

    Parameters
    ----------
    given : Frames
        What the caller of ``train`` gave; what is None is read from where the configuration says.
    """
    job, facts = context.job, context.facts
    display = context.display
    frames = _read(context, given)
    inputs.check(job, frames.training, frames.validation)
    storage = open_storage(job.job_dir, lambda: HadoopStorage(facts.spark), local_run=facts.one_machine)
    fresh = _fresh(context, storage, storage.qualify(job.job_dir))
    path = layout.preflight(storage, job.job_dir, None if fresh else resolve.settings(job))
    if fresh is None:
        fixed_file.compare(storage, path, fixed.options_of_loss(job.training))
    # whoever is at work there is waited for, or refused, before rows are spooled and slots are taken for nothing
    claim = Claim(storage, path, context.run_info(path), job.job.take_over, say=display.phase)
    claim.wait_until_free()
    slots.wait_for(facts, job.cluster.num_workers, job.failure.start_s)
    for line in [*memory.warnings(facts, job), *resolve.unsaid(job, frames.validation is not None)]:
        display.phase(f"warning: {line}")
    if job.transport.mode == "tcp":
        log.warning(
            "transport.mode is tcp: ps-lite's ports are neither authenticated nor encrypted; whoever reaches %s "
            "can read and change the training, so use it on a trusted network only",
            facts.driver_host,
        )
    return Checked(frames, storage, path, claim, fresh)


def _fresh(context: RunContext, storage: Storage, path: str) -> Optional[Fresh]:
    """Return the wish to start over, None where there is none, or an earlier try of the same command has done so."""
    job = context.job
    if not job.job.fresh:
        return None
    command = session.command_id(context.facts, job.job.id)
    if is_begun(storage, path, resolve.settings(job), command):
        context.display.phase(
            f"job.fresh: an earlier try of {command} has started over in {path} and did not come to its end; this one "
            "goes on from there"
        )
        return None
    return Fresh(command)


def _read(context: RunContext, given: Frames) -> Frames:
    job, spark = context.job, context.facts.spark
    training, validation = given.training, given.validation
    if training is None:
        training = inputs.read(spark, job, job.data.path, "data.path")
    if validation is None and job.data.validation.path is not None:
        validation = inputs.read(spark, job, job.data.validation.path, "data.validation.path")
    if validation is not None and job.data.validation.fraction:
        raise InputError(
            f"validation rows are given, and data.validation.fraction is {job.data.validation.fraction} too; remove "
            "one: a job has one kind of validation data"
        )
    return Frames(training, validation)
