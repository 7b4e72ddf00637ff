"""A job goes on with the same rows when Spark has other cores, executors or workers than when it began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import mxspark
from mxspark.errors import JobDirError

pytestmark = pytest.mark.usefixtures("nothing_left")


def dense() -> Any:
    """Return a network of one output."""
    from mxnet import gluon

    return gluon.nn.Dense(1)


def unequal(folder: Path, rows: int = 240, is_reversed: bool = False) -> str:
    """Write the same rows into files of several sizes; return where."""
    folder.mkdir()
    table = pa.table({"x": [[i / rows, 1.0] for i in range(rows)], "y": [float(i % 7) for i in range(rows)]})
    table = table.take(list(reversed(range(rows)))) if is_reversed else table
    for number, (start, size) in enumerate([(0, rows // 4), (rows // 4, rows // 4), (rows // 2, rows // 2)]):
        pq.write_table(table.slice(start, size), folder / f"{number}.parquet")
    return str(folder)


def on_lines(folder: Path, frame: Any, workers: int, epochs: int, shuffle: str) -> mxspark.Result:
    """Train a linear network on columns x and y."""
    return mxspark.train(
        frame,
        job={"dir": str(folder)},
        data={"features": ["x"], "label": "y", "shuffle": shuffle},
        cluster={"num_workers": workers},
        training={"network": dense, "loss": "l2", "batch_size": 32, "epochs": epochs},
        report={"progress": "off"},
    )


def partitions_in(folder: Path) -> int:
    return len(json.loads((folder / "_job.json").read_text())["record"]["data"]["rows"])


def test_a_job_goes_on_with_the_same_rows_whatever_cores_spark_has_now(spark: SparkSession, tmp_path: Path) -> None:
    """Files and a shuffle; the setting that cores stand in for is what is changed."""
    path, folder = unequal(tmp_path / "data"), tmp_path / "job"
    keys = ("spark.sql.files.openCostInBytes", "spark.sql.leafNodeDefaultParallelism")
    before = {key: spark.conf.get(key, None) for key in keys}
    try:
        spark.conf.set("spark.sql.files.openCostInBytes", "1")
        spark.conf.set("spark.sql.leafNodeDefaultParallelism", "2")
        assert on_lines(folder, spark.read.parquet(path), 1, 1, "rows").epochs == 1
        began_with = partitions_in(folder)
        spark.conf.set("spark.sql.leafNodeDefaultParallelism", "7")
        frame = spark.read.parquet(path)
        assert frame.rdd.getNumPartitions() != began_with, "nothing is tried"
        again = on_lines(folder, frame, 2, 2, "rows")
        assert (again.epochs, len(again.history)) == (2, 1)
        assert spark.conf.get("spark.sql.leafNodeDefaultParallelism") == "7"
    finally:
        for key, value in before.items():
            spark.conf.unset(key) if value is None else spark.conf.set(key, value)


def test_a_job_that_shuffles_all_rows_goes_on_with_other_workers_and_files(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    assert on_lines(folder, spark.read.parquet(unequal(tmp_path / "data")), 2, 1, "global").epochs == 1
    again = on_lines(folder, spark.read.parquet(unequal(tmp_path / "reversed", is_reversed=True)), 3, 2, "global")
    assert (again.epochs, len(again.history)) == (2, 1)


def test_rows_that_only_a_new_session_cuts_as_before_say_how(spark: SparkSession, tmp_path: Path) -> None:
    def rows(partitions: int) -> Any:
        return spark.sparkContext.parallelize([([i / 64, 1.0], float(i % 7)) for i in range(64)], partitions)

    on_lines(tmp_path / "job", rows(2), 1, 1, "rows")
    with pytest.raises(JobDirError, match=r"in 3 partitions where they were in 2.*spark.default.parallelism=4 to cut"):
        on_lines(tmp_path / "job", rows(3), 1, 2, "rows")
