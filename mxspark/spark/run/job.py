"""``mxspark.train``: one run of a job, from its configuration to its result."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional, Union

from pyspark.sql import SparkSession

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.data.dataset import DataSet
from mxspark.data.spool import ColumnSpec, SpoolReady
from mxspark.errors import DataError, InputError
from mxspark.job.record import DataRecord, JobRecord
from mxspark.job.spec import Restore
from mxspark.jobdir import layout
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.lease import Lease
from mxspark.jobdir.ownership import Claim
from mxspark.protocol.events import Reported
from mxspark.report import progress as displays
from mxspark.result import Result
from mxspark.spark.hadoop import storage
from mxspark.spark.run import memory
from mxspark.spark.run.attempts import Attempts, Data
from mxspark.spark.run.gang import Gang
from mxspark.spark.run.record import Recorder, run_info
from mxspark.spark.run.shutdown import Notice
from mxspark.spark.run.timing import Phases, run_id
from mxspark.spark.session import session
from mxspark.spark.session.call import SparkCall
from mxspark.spark.session.jvm import Jvm
from mxspark.spark.session.session import SessionFacts
from mxspark.spark.spool import inputs, stage
from mxspark.spark.spool.watch import SpoolWatch
from mxspark.storage import open_storage
from mxspark.topology.memory import MAPPED_BYTES

log = logging.getLogger(__name__)

Spools = tuple[list[SpoolReady], Optional[list[SpoolReady]]]
Hook = Callable[[Reported], None]
Columns = tuple[tuple[ColumnSpec, ...], tuple[ColumnSpec, ...]]


def train(
    df: Any = None,
    config: Union[JobConfig, Mapping[str, Any], str, None] = None,
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
        The rows; default: what ``data.path`` names. Elements of an RDD are tuples or lists (features, then labels, in
        declared order), Rows or dicts (by name), LabeledPoints, or 1-D numpy arrays.
    config : JobConfig, mapping or str, optional
        The job, or the path of its YAML file; `sections` are laid over it: ``training={"epochs": 3}``.
    validation_df : DataFrame or RDD, optional
        Rows to validate on after each epoch, in place of ``data.validation``.
    spark, run : SparkSession and str, optional
        Default: the active session, and a new run id.
    on_event : callable, optional
        Called with every :class:`mxspark.protocol.events.Reported`, in the calling thread.

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

    Examples
    --------
    >>> result = mxspark.train(df, "conf/digits.yaml", training={"epochs": 3})  # doctest: +SKIP
    >>> result.metrics["validation"]["last"]["accuracy"], result.model.load()   # doctest: +SKIP
    """
    job = resolve.configure(config, sections)
    return _train(job, df, validation_df, spark, run or run_id(), on_event, Notice())


def train_job(job: JobConfig, spark: SparkSession, run: str, notice: Notice) -> Result:
    """Train for a command line, which gives notice when it is told to end."""
    return _train(job, None, None, spark, run, None, notice)


def _train(
    job: JobConfig,
    df: Any,
    validation_df: Any,
    spark: Optional[SparkSession],
    run: str,
    on_event: Optional[Hook],
    notice: Notice,
) -> Result:
    facts = session.facts(spark or SparkSession.getActiveSession() or session.start(f"mxspark {job.job.name}"))
    phases, display = Phases(), displays.make(job.report.progress, job.report.every_s)
    scratch = Path(tempfile.mkdtemp(prefix="mxspark-"))
    try:
        with Jvm(facts.spark, job.failure.lease_s) as jvm, jvm.named():
            return _Run(job, facts, jvm, run, scratch, phases, display, on_event, notice).train(df, validation_df)
    finally:
        display.close()
        shutil.rmtree(scratch, ignore_errors=True)


class _Run:
    """One run: what its phases share."""

    def __init__(
        self,
        job: JobConfig,
        facts: SessionFacts,
        jvm: Jvm,
        run: str,
        scratch: Path,
        phases: Phases,
        display: displays.Progress,
        on_event: Optional[Hook],
        notice: Notice,
    ) -> None:
        self.notice = notice
        self.job, self.facts, self.jvm, self.run, self.scratch = job, facts, jvm, run, scratch
        self.phases, self.display, self.on_event = phases, display, on_event
        self.lease: Optional[Lease] = None

    def train(self, df: Any, validation_df: Any) -> Result:
        """Check, spool, form the gang, train, publish."""
        with self.phases("check"):
            self.display.phase("checking")
            path, df, validation_df = self._check(df, validation_df)
            self.frames = df, validation_df
        with contextlib.ExitStack() as stack:
            # started first, so that the scheduler comes up while the rows are spooled
            self.stack = stack
            gang = self._gang(self.job.cluster.num_workers, 1)
            with self.phases("spool"):
                self.display.phase("spooling")
                spools, columns = self._spool(df, validation_df, stack)
                data, self.spools = resolve.data_sets(self.job, *spools), spools
            with self.phases("resume"):
                recorder = self._own(path, spools, columns, data[0])
            with recorder.keeping(self.phases), self.jvm.named():
                with self.phases("resume"):
                    restore = recorder.resume(self._folder("restore"))
                if recorder.is_complete():
                    return recorder.nothing_left()
                return self._attempts(recorder, gang, columns, data, restore).run()

    def _attempts(
        self, recorder: Recorder, gang: Gang, columns: Columns, data: Data, restore: Optional[Restore]
    ) -> Attempts:
        staging, mapped = str(self._folder("staging")), MAPPED_BYTES if self.facts.on_yarn else None
        bundle = resolve.worker_bundle(
            self.job, run_id=self.run, columns=columns, data=data, restore=restore, staging=staging, mapped_bytes=mapped
        )
        self.display.phase("starting the workers")
        steps = data[0].plan.steps
        self.display.begin(steps, self.job.training.epochs, restore.step if restore else 0)
        recorder.begin()
        again, where = self._spool_again, self._folder("restore")
        return Attempts(
            self.job, self.facts, gang, self._gang, bundle,
            recorder, self.display, again, where, self._wait, self.notice,
        )  # fmt: skip

    def _gang(self, size: int, first: int) -> Gang:
        return self.stack.enter_context(Gang(self.facts, self.job, self.run, self.scratch / "logs", size, first))

    def _wait(self, seconds: float) -> None:
        """Sleep, and raise as soon as another run owns the job dir; before this run owns it there is nothing to do."""
        if self.lease is not None:
            self.lease.sleep(seconds)

    def _check(self, df: Any, validation_df: Any) -> tuple[str, Any, Any]:
        """Return the job dir and the data, after all that can be found out before anything is submitted."""
        job, spark = self.job, self.facts.spark
        if df is None:
            df = inputs.read(spark, job, job.data.path, "data.path")
        if validation_df is None and job.data.validation.path is not None:
            validation_df = inputs.read(spark, job, job.data.validation.path, "data.validation.path")
        if validation_df is not None and job.data.validation.fraction:
            raise InputError(
                f"validation rows are given, and data.validation.fraction is {job.data.validation.fraction} too; a job "
                "has one kind of validation data, remove one"
            )
        inputs.check(job, df, validation_df)
        self.storage = open_storage(job.job.dir, lambda: storage.HadoopStorage(spark), local_run=self.facts.one_machine)
        path = layout.preflight(self.storage, job.job.dir, resolve.settings(job))
        info = run_info(self.run, path, job)
        self.claim = Claim(self.storage, path, info, job.job.take_over, say=self.display.phase)
        self.claim.wait_until_free()
        session.wait_for_slots(self.facts, job.cluster.num_workers, job.failure.start_s)
        for line in memory.warnings(self.facts, job):
            self.display.phase(f"warning: {line}")
        if job.transport.mode == "tcp":
            log.warning(
                "transport.mode is tcp: ps-lite's ports are neither authenticated nor encrypted; whoever reaches %s "
                "can read and change the training, so use it on a trusted network only",
                self.facts.driver_host,
            )
        return path, df, validation_df

    def _spool(self, df: Any, validation_df: Any, stack: contextlib.ExitStack) -> tuple[Spools, Columns]:
        """Write all rows to local disk, and raise what is wrong with them."""
        columns = (self.job.features(), self.job.labels())
        stack.callback(_forgive, session.remove_spools, self.facts, self.run)
        training = self._spool_one(df, columns, "training", stack)
        validation = None if validation_df is None else self._spool_one(validation_df, columns, "validation", stack)
        problems = stage.problems(training, *columns)
        if validation is not None:
            problems += [f"validation data: {line}" for line in stage.problems(validation, *columns)]
        if problems:
            raise DataError("the data cannot be trained on:\n" + "\n".join(f"  - {line}" for line in problems))
        inputs.check_one_host([*training, *(validation or [])])
        settled = (stage.settle(columns[0], training), stage.settle(columns[1], training))
        if validation is not None:
            inputs.check_same_shapes(settled, validation)
        return (training, validation), settled

    def _spool_one(self, data: Any, columns: Columns, name: str, stack: contextlib.ExitStack) -> list[SpoolReady]:
        context = self.facts.spark.sparkContext
        if self.job.data.shuffle == "global" and name == "training":
            data = data.repartition(max(data_partitions(data), self.job.cluster.num_workers))
        group = f"mxspark-{self.run}-spool-{name}"
        words = f"mxspark {self.job.job.name}: spool of the {name} rows"
        call = SparkCall(context, group, words, lambda: stage.spool(data, *columns, self.run, name))
        watch = SpoolWatch(context, group, self.jvm.pid, self.job.failure.hang_s, self.display.phase)
        ready = call.result(watch.look)
        stack.callback(_forgive, stage.remove, ready, self.run)
        return ready

    def _spool_again(self) -> Data:
        """Return the data for a new stage; what was lost with an executor is read once more."""
        before = self.spools
        if not all(map(stage.is_there, [*before[0], *(before[1] or [])])):
            self.display.phase("spooled rows were lost with an executor; spooling again")
            self.spools, _ = self._spool(*self.frames, self.stack)
            for name, old, new in zip(("training", "validation"), before, self.spools):
                if old is not None and new is not None and DataRecord.of(old) != DataRecord.of(new):
                    raise DataError(
                        f"the {name} rows had to be read again after an executor was lost, and they are others than "
                        f"before ({DataRecord.of(new).rows} rows a partition where there were "
                        f"{DataRecord.of(old).rows}, or other values), so the run cannot go on exactly; make the data "
                        "frame deterministic, or write it to storage first"
                    )
        return resolve.data_sets(self.job, *self.spools)

    def _own(self, path: str, spools: Spools, columns: Columns, training: DataSet) -> Recorder:
        """Take the job dir over."""
        settings = dataclasses.replace(resolve.settings(self.job), features=columns[0], labels=columns[1])
        validation = None if spools[1] is None else DataRecord.of(spools[1])
        record = JobRecord(settings, DataRecord.of(spools[0]), validation)
        owned = layout.JobDir.acquire(self.storage, path, record, run_info(self.run, path, self.job), self.claim)
        self.lease = self.stack.enter_context(Lease(owned))
        store = CheckpointStore(owned, self.job.checkpoint.keep)
        return Recorder(self.job, owned, store, training.plan, self.scratch, self.display, self.on_event)

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def data_partitions(data: Any) -> int:
    """Return the number of partitions of a DataFrame or RDD."""
    return int(getattr(data, "rdd", data).getNumPartitions())


def _forgive(remove: Callable[..., None], *arguments: Any) -> None:
    """Remove spooled rows; what cannot be removed is said, and must not hide how the run ended."""
    try:
        remove(*arguments)
    except OSError as error:
        log.warning("spooled rows are left behind: %s", error)
