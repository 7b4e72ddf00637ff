"""The rows of a run on local disk, as they are until the run ends."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import Any, Callable, Optional

from pyspark.sql import DataFrame

from mxspark.config import resolve
from mxspark.data.columns import sources
from mxspark.data.dataset import DataSet
from mxspark.data.partitions import Partitions
from mxspark.data.row_layout import RowLayout
from mxspark.data.spool import ColumnSpec, Spool
from mxspark.data.survey import Survey
from mxspark.errors import DataError
from mxspark.errors.spelling import counted
from mxspark.job.data_record import DataRecord
from mxspark.job.record import JobRecord
from mxspark.spark.run.context import RunContext
from mxspark.spark.session import session
from mxspark.spark.session.call import SparkCall
from mxspark.spark.spool import dense, inputs, meaning, packing, stage
from mxspark.spark.spool.dense import Dense
from mxspark.spark.spool.waiting import SlotWait
from mxspark.spark.spool.watch import SpoolWatch

log = logging.getLogger(__name__)

Columns = tuple[tuple[ColumnSpec, ...], tuple[ColumnSpec, ...]]
Data = tuple[DataSet, Optional[DataSet]]


@dataclass(frozen=True)
class Frames:
    """What Spark reads: a DataFrame or RDD of training rows, and one of validation rows if the job has any."""

    training: Any
    validation: Any = None


@dataclass(frozen=True)
class _Surveys:
    training: Survey
    validation: Optional[Survey]

    def by_name(self) -> dict[str, Survey]:
        spools = {"training": self.training}
        return spools if self.validation is None else {**spools, "validation": self.validation}


class Spooled:
    """The rows of a run, written to local disk on construction.

    Parameters
    ----------
    jvm_pid : int
        The driver's JVM, below which the processes that spool are looked for.
    recorded : JobRecord or None
        Of the job that is gone on with: its rows are cut into partitions as it says.
    at_end : ExitStack
        Removes the files, also those of a spool that fails half way.

    Attributes
    ----------
    columns : tuple
        Features and labels, with the shapes that the rows have.
    data : tuple of DataSet
        Training and validation rows, for the workers.
    packing : dict of str to str, or None
        By which settings Spark has cut the rows.

    Raises
    ------
    DataError
        Naming everything that is wrong with the rows.
    """

    def __init__(
        self,
        context: RunContext,
        frames: Frames,
        jvm_pid: int,
        at_end: contextlib.ExitStack,
        recorded: Optional[JobRecord] = None,
    ) -> None:
        self._context = context
        self._frames = frames
        self._jvm_pid = jvm_pid
        self._at_end = at_end
        self._sizes: list[str] = []
        self._partitions = None if recorded is None else len(recorded.data.rows)
        # those of a job that did not keep it can only be cut as the session does
        self.packing = None if recorded is None else recorded.packing
        # runs last of all that is registered: it finds what tasks have left that never answered
        at_end.callback(_forgive, session.remove_spools, context.facts, context.run_id)
        self._surveys = self._spool()
        self.columns = self._settle()
        self.data = self._data()

    @property
    def record(self) -> tuple[DataRecord, Optional[DataRecord]]:
        """What the job's record says of the training and of the validation rows."""
        validation = self._surveys.validation
        return DataRecord.of(self._surveys.training), None if validation is None else DataRecord.of(validation)

    @property
    def warnings(self) -> list[str]:
        """What the job has wanted to be done to the rows, and may not have meant."""
        of_rows = meaning.warnings(self._context.job, self._surveys.training, self._surveys.validation)
        return [*dict.fromkeys(self._sizes), *of_rows]

    def ensure_there(self) -> Data:
        """Return the data for a new stage; what was lost with an executor is read once more.

        Spark's local folders go when their executor goes. What is read again must be what was read before: the job's
        record, the plan and every checkpoint speak of those rows.

        Raises
        ------
        DataError
            If other rows are read than before.
        """
        if all(_is_there(data.spool) for data in self.data if data is not None):
            return self.data
        before = self._surveys
        self._context.display.phase("spooled rows were lost with an executor; spooling again")
        self._surveys = self._spool()
        self._settle()
        for name, survey in self._surveys.by_name().items():
            _check_same(name, DataRecord.of(before.by_name()[name]), DataRecord.of(survey))
        self.data = self._data()
        return self.data

    def _spool(self) -> _Surveys:
        with packing.packed_by(self._context.facts.spark, self.packing) as of_session:
            if self._partitions is None:  # a new job
                self.packing = of_session
            training = self._spool_one(self._frames.training, "training")
            self._partitions = len(training.ready)
            if self._frames.validation is None:
                return _Surveys(training, None)
            return _Surveys(training, self._spool_one(self._frames.validation, "validation"))

    def _spool_one(self, data: Any, name: str) -> Survey:
        job, run_id = self._context.job, self._context.run_id
        spark = self._context.facts.spark.sparkContext
        # validation rows have no order to be shuffled for, and keep their partitions
        if job.data.shuffle == "global" and name == "training":
            data = self._shuffled(data)
        group = f"mxspark-{run_id}-spool-{name}"
        description = f"mxspark {job.job.name}: spool of the {name} rows"
        look = self._looking(group)
        features, labels = job.spooled()
        if isinstance(data, DataFrame):
            self._say_size(SparkCall(spark, group, description, lambda: dense.look(data, features)).result(look))
        call = SparkCall(spark, group, description, lambda: stage.spool(data, features, labels, run_id, name))
        # of what a spool that fails has written its tasks remove what they can; the rest is found by the run's name
        ready = call.result(look)
        self._at_end.callback(_forgive, stage.remove, ready, run_id)
        inputs.check_one_host(ready)
        return Survey.of(ready, (*features, *labels))

    def _looking(self, group: str) -> Callable[[], None]:
        """Return what looks at the Spark jobs of a group while they are waited for."""
        spark, say = self._context.facts.spark, self._context.display.phase
        watch = SpoolWatch(spark.sparkContext, group, self._jvm_pid, self._context.job.failure.hang_s, say)
        wait = SlotWait(spark, group, say, "spooling")

        def look() -> None:
            watch.look()
            wait.look()

        return look

    def _say_size(self, found: list[Dense]) -> None:
        """Say how much sparse vectors are on disk, before they are; refuse what is known not to fit."""
        facts = self._context.facts
        if facts.one_machine:
            dense.require_room(found, facts.local_folders)
        for one in found:
            self._context.display.phase(f"warning: {one}")
            self._sizes.append(str(one))

    def _shuffled(self, data: Any) -> Any:
        job = self._context.job
        partitions = self._partitions or max(data_partitions(data), job.cluster.num_workers)
        if self.packing is None:
            return data.repartition(partitions)
        features, labels = job.spooled()
        return packing.shuffled(data, sources((*features, *labels)), partitions)

    def _settle(self) -> Columns:
        """Return the columns with the shapes of the rows; raise what is wrong with any row of both."""
        features, labels = self._context.job.features(), self._context.job.labels()
        training, validation = self._surveys.training, self._surveys.validation
        problems = meaning.problems(self._context.job, training, validation)
        if problems:
            raise DataError("the data cannot be trained on:\n" + "\n".join(f"  - {line}" for line in problems))
        settled = (training.settled(features), training.settled(labels))
        if validation is not None:
            inputs.check_same_shapes(settled, validation)
        return settled

    def _data(self) -> Data:
        folder = self._context.folder("partitions")
        spools = {name: survey.spool(folder / name) for name, survey in self._surveys.by_name().items()}
        return resolve.data_sets(self._context.job, spools["training"], spools.get("validation"))


def data_partitions(data: Any) -> int:
    """Return the number of partitions of a DataFrame or RDD."""
    return int(getattr(data, "rdd", data).getNumPartitions())


def _is_there(spool: Spool) -> bool:
    """Tell whether the files of all partitions are still there, each of its size."""
    try:
        Partitions.open(spool).check(RowLayout.of(spool.arrays).row_bytes)
    except DataError:
        return False
    return True


def _check_same(name: str, before: DataRecord, now: DataRecord) -> None:
    if before != now:
        raise DataError(
            f"the {name} rows had to be read again after an executor was lost, and they are others than before "
            f"({_size(now)} where there were {_size(before)}, or other values), so the run cannot go on exactly; make "
            "the data frame deterministic, or write it to storage first"
        )


def _size(rows: DataRecord) -> str:
    return f"{sum(rows.rows):,} rows in {counted(len(rows.rows), 'partition')}"


def _forgive(remove: Callable[..., None], *arguments: Any) -> None:
    """Remove spooled rows; what cannot be removed is said, and must not hide how the run ended."""
    try:
        remove(*arguments)
    except OSError as error:
        log.warning("spooled rows are left behind: %s", error)
