"""``mxspark.train``: one run of a job, from its configuration to its result."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, Union

from pyspark import SparkContext
from pyspark.sql import SparkSession

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.errors import InputError, TrainingCodeError
from mxspark.job.record import JobRecord
from mxspark.job.spec import Restore, WorkerSpec
from mxspark.jobdir import fixed_file
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.lease import Lease
from mxspark.report import progress as displays
from mxspark.report.title import Title
from mxspark.result import Result
from mxspark.spark.run import given, options, preflight, same_network, starting_over
from mxspark.spark.run.attempts import Attempts
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.gang import Gang
from mxspark.spark.run.preflight import Checked
from mxspark.spark.run.record import Hook, Recorder
from mxspark.spark.run.shutdown import Shutdown
from mxspark.spark.run.spooled import Frames, Spooled
from mxspark.spark.run.timing import Phases, run_id
from mxspark.spark.session import local_folders, session
from mxspark.spark.session.jvm import Jvm
from mxspark.spark.spool import batches, beside
from mxspark.topology.memory import MAPPED_BYTES

log = logging.getLogger(__name__)


def train(
    df: Any = None,
    config: Union[JobConfig, Mapping[str, Any], str, os.PathLike[str], None] = None,
    *,
    validation_df: Any = None,
    spark: Optional[SparkSession] = None,
    run: Optional[str] = None,
    on_event: Optional[Hook] = None,
    **sections: Mapping[str, Any],
) -> Result:
    """Train an MXNet network on a DataFrame or RDD, on the cores of the Spark session.

    Parameters
    ----------
    df : DataFrame or RDD, optional
        The rows; default: what ``data.path`` names. Elements of an RDD are tuples or lists (features, then labels, then
        the weight, in declared order), Rows, namedtuples or dicts (by name), LabeledPoints, or 1-D numpy arrays.
    config : JobConfig, mapping, str or Path, optional
        The job, or the path of its YAML file; `sections` are laid over it: ``training={"epochs": 3}``.
    validation_df : DataFrame or RDD, optional
        Rows to validate on after each epoch, in place of ``data.validation``.
    spark, run : SparkSession and str, optional
        Default: the active session, and a new run id.
    on_event : callable, optional
        Called as ``on_event(event)`` with every :class:`mxspark.protocol.events.Reported`, in the calling thread.

    Returns
    -------
    Result
        Metrics of every epoch, the trained network (``result.model.load()``), the newest checkpoint, the events.

    Raises
    ------
    InputError
        The configuration, the data or the job dir cannot be used.
    TrainingCodeError
        The network, loss or another function of the user raised; the message has its traceback.
    ClusterError
        A process, slot or host failed; the same call resumes from the newest checkpoint.
    """
    return _run(Frames(df, validation_df), config, sections, spark, run or run_id(), on_event)


def train_job(job: JobConfig, spark: SparkSession, run: str, shutdown: Shutdown) -> Result:
    """Train for a command line, which asks for the end when it is told to."""
    with _context(job, spark, run, shutdown) as context:
        return _train(context, Frames(None))


def _run(
    frames: Frames,
    config: Any,
    sections: Mapping[str, Any],
    spark: Optional[SparkSession],
    run: str,
    on_event: Optional[Hook],
) -> Result:
    """Check what was given, and train; what the user can mend is raised without our frames."""
    df, validation_df = frames.training, frames.validation
    try:
        given.check(df, validation_df, on_event, spark)
        job = resolve.configure(config, sections, beside.look(spark, df, validation_df))
        with _context(job, spark, run, Shutdown()) as context:
            return _train(context, frames, on_event)
    except (InputError, TrainingCodeError, KeyboardInterrupt) as error:
        # two dozen of them, and what it was made of, would stand before what the user can mend, or has kept
        if log.isEnabledFor(logging.DEBUG):
            raise
        raise error.with_traceback(None) from None


@contextlib.contextmanager
def _context(job: JobConfig, spark: Optional[SparkSession], run: str, shutdown: Shutdown) -> Iterator[RunContext]:
    facts = session.facts(spark or SparkSession.getActiveSession() or _started(job))
    for problem in session.gang_problems(facts):
        raise problem
    with Title(job.job.name, job.job_dir) as title:
        display = displays.make(job.report.progress, job.report.every_s, title)
        scratch = Path(tempfile.mkdtemp(prefix="mxspark-", dir=local_folders.of_container()))
        try:
            yield RunContext(job, facts, run, scratch, display, shutdown, options.of(job))
        finally:
            display.close()
            shutil.rmtree(scratch, ignore_errors=True)


def _started(job: JobConfig) -> SparkSession:
    if SparkContext._active_spark_context is None:  # that of another thread is no active session, but is taken
        displays.say_before(job.report.progress, "starting Spark")
    return session.start(f"mxspark {job.job.name}")


def _train(context: RunContext, frames: Frames, on_event: Optional[Hook] = None) -> Result:
    """Check, spool, form the gang, train, publish."""
    job, display = context.job, context.display
    phases = Phases()
    # The JVM is watched from the first call on, for one that stands still holds up every call. What is on the stack is
    # left in reverse: the lease (nothing is published any more, a next run may begin), the rows (workers that have them
    # mapped notice nothing), and then the gang, whose end may take as long as Spark takes to give up a lost host.
    with Jvm(context.facts.spark, job.failure.lease_s) as jvm, jvm.explaining_errors(), contextlib.ExitStack() as stack:
        with phases("check"):
            display.phase("checking")
            checked = preflight.check(context, frames)
        # before the rows are spooled: the driver's agent comes up meanwhile
        gang = stack.enter_context(Gang(context, job.cluster.num_workers, 1))
        with phases("spool"), jvm.at_work(batches.described(context.facts.spark)):
            display.phase("spooling")
            spooled = Spooled(context, checked.frames, jvm.pid, stack, checked.recorded)
        with phases("resume"):
            # not before: the job's record holds what the rows are, and a run that cannot read them takes nothing over
            owned, notes = _own(context, checked, spooled)
            lease = stack.enter_context(Lease(owned))
            recorder = Recorder(context, owned, spooled.data[0].plan, phases, on_event)
        # inside too: the run's folder shall say what the caller is told
        with recorder.keeping(), jvm.explaining_errors():
            recorder.keep(checked.warnings)
            for line in [*notes, *spooled.warnings]:
                recorder.warn(line)
            with phases("resume"):
                restore = recorder.resume(context.folder("restore"))
            known = fixed_file.read(owned.storage, owned.path)
            graph = known.graph if known is not None else None
            if recorder.is_complete():
                if graph is not None:
                    with phases("compare"):
                        built = same_network.check(context, graph, spooled.columns[0])
                        recorder.warn_of(built.trouble)
                        if not built.trouble:
                            recorder.learn(built.factors)
                return recorder.nothing_left()
            display.phase("starting the workers")
            done = restore.step if restore is not None else 0
            display.begin(spooled.data[0].plan.steps, job.training.epochs, done)
            # from here on whatever happens is told in the run's folder, and every second is somebody's
            recorder.begin()
            worker_spec = dataclasses.replace(_worker_spec(context, spooled, restore), graph=graph)
            return Attempts(context, recorder, spooled, lease, gang, worker_spec, gangs=stack).run()


def _own(context: RunContext, checked: Checked, spooled: Spooled) -> tuple[JobDir, list[str]]:
    """Take the job dir over, and return with it what there is to say of that."""
    features, labels = spooled.columns
    settings = dataclasses.replace(resolve.settings(context.job), features=features, labels=labels)
    record = JobRecord(settings, *spooled.record, packing=spooled.packing)
    run = context.run_info(checked.path)
    storage, path = checked.storage, checked.path
    begins = starting_over.decide(context, storage, path, checked.fresh, record)
    owned = JobDir.acquire(storage, path, record, run, checked.claim, fresh=begins.fresh)
    return owned, begins.warnings(path, owned.aside)


def _worker_spec(context: RunContext, spooled: Spooled, restore: Optional[Restore]) -> WorkerSpec:
    return resolve.worker_spec(
        context.job,
        run_id=context.run_id,
        columns=spooled.columns,
        data=spooled.data,
        restore=restore,
        staging=str(context.folder("staging")),
        mapped_bytes=MAPPED_BYTES if context.facts.on_yarn else None,
    )
