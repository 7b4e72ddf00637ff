"""Jobs of many partitions and many arrays, on few open files, few maps and small frames."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.sql import DataFrame, SparkSession

import mxspark
from mxspark.protocol import frames
from mxspark.protocol.events import EpochEnd, Reported, RoleStarted

pytestmark = pytest.mark.usefixtures("nothing_left")


@contextmanager
def few_open_files(spark: SparkSession, most: int) -> Iterator[None]:
    """Let what runs Python here have no more than so many, as after ``ulimit -n``: this process and Spark's tasks.

    The agents and roles that they start inherit the limit.
    """
    spark.sparkContext.parallelize([1], 1).map(str).count()  # from now on there is the process that starts tasks
    jvm: Any = spark._jvm
    tasks = psutil.Process(jvm.java.lang.ProcessHandle.current().pid()).children(recursive=True)
    pids = [os.getpid(), *(process.pid for process in tasks)]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    try:
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
        yield
    finally:
        for pid, limits in before.items():
            if psutil.pid_exists(pid):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@dataclass
class Figures:
    """What the workers of a run had open and mapped at the end of an epoch, and the largest frame the driver sent."""

    files: list[int] = field(default_factory=list)
    maps: list[int] = field(default_factory=list)
    spool: list[int] = field(default_factory=list)
    frame: int = 0
    _workers: dict[int, int] = field(default_factory=dict)

    def look(self, reported: Reported) -> None:
        """Take in an event."""
        event = reported.event
        if isinstance(event, RoleStarted) and event.role == "worker":
            self._workers[event.rank] = event.pid
        elif isinstance(event, EpochEnd) and event.epoch == 0:
            process = Path("/proc", str(self._workers[reported.rank]))
            maps = (process / "maps").read_text().splitlines()
            self.files.append(len(os.listdir(process / "fd")))
            self.maps.append(len(maps))
            self.spool.append(sum(".rows" in line for line in maps))

    def watch_frames(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dump = frames._dump

        def measured(message: frames.Message) -> bytes:
            body = dump(message)
            self.frame = max(self.frame, len(body))
            return body

        monkeypatch.setattr(frames, "_dump", measured)


def table(spark: SparkSession, partitions: int, features: int, rows: int) -> DataFrame:
    """Return so many rows a partition, of scalar features and a label."""
    columns = [f"cast((id + {number}) % {number % 50 + 2} as float) as x{number}" for number in range(features)]
    return spark.range(0, rows * partitions, 1, partitions).selectExpr(*columns, "cast(id % 2 as int) as y")


def side_by_side() -> Any:
    """Return a network that takes any number of inputs of one number a row."""
    from mxnet import gluon

    class SideBySide(gluon.HybridBlock):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = gluon.nn.Dense(2)

        def hybrid_forward(self, F: Any, *numbers: Any) -> Any:
            return self.dense(F.stack(*numbers, axis=1))

    return SideBySide()


def train(frame: DataFrame, folder: Path, figures: Figures, batch_size: int) -> mxspark.Result:
    """Train on all columns but y, with some of the rows for validation."""
    return mxspark.train(
        frame,
        job={"dir": str(folder)},
        data={
            "features": [name for name in frame.columns if name != "y"],
            "label": {"y": {"dtype": "int32"}},
            "validation": {"fraction": 0.25},
        },
        training={"network": side_by_side, "loss": "softmax_cross_entropy", "epochs": 2, "batch_size": batch_size},
        cluster={"num_workers": 2},
        failure={"start_s": 600.0, "hang_s": 600.0},
        report={"progress": "off"},
        on_event=figures.look,
    )


def test_hundreds_of_partitions_train_on_a_few_open_files(spark: SparkSession, tmp_path: Path) -> None:
    """Every file of every partition was one more open file in every worker, and two with validation rows."""
    figures = Figures()
    with few_open_files(spark, 256):
        result = train(table(spark, 300, 3, 4), tmp_path / "job", figures, 100)
    assert (result.status, result.epochs) == ("succeeded", 2)
    rows = [epoch.rows for epoch in result.history]
    assert rows[0] == rows[1] and abs(rows[0] - 900) < 60
    files = spark.sparkContext.defaultParallelism
    assert len(figures.spool) == 2 and all(0 < count <= 2 * files for count in figures.spool), figures
    assert all(count < 200 for count in figures.files), figures


@pytest.mark.long
def test_thousands_of_partitions_of_hundreds_of_arrays_train(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = Figures()
    figures.watch_frames(monkeypatch)
    with few_open_files(spark, 256):
        result = train(table(spark, 20_000, 500, 2), tmp_path / "job", figures, 500)
    print(f"seconds {result.seconds}, of a worker: {max(figures.files)} open files, {max(figures.maps)} maps, of which "
          f"{max(figures.spool)} of the spool; largest frame {figures.frame:,} bytes")  # fmt: skip
    assert (result.status, result.epochs) == ("succeeded", 2)
    assert abs(result.history[1].rows - 30_000) < 300
    assert max(figures.files) < 200 and max(figures.spool) <= 2 * spark.sparkContext.defaultParallelism
    assert figures.frame < 2**20
