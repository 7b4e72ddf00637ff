"""Sparse vectors: how much they are on disk is said before they are written, and what does not fit is not begun."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.ml.feature import HashingTF
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import mxspark
from mxspark.data.spool import ColumnSpec
from mxspark.errors import DataError
from mxspark.spark.spool import dense
from mxspark.spark.spool.dense import Dense

WIDTH = 1 << 14  # of float32 64 KiB a row
X = ColumnSpec("x", ("x",), None, "float32")
SIZE = "column x: sparse vectors of 16,384 values are spooled dense, 3 rows of 0.1 MiB, 0.0 GiB in all"


def rows(spark: SparkSession, *vectors: Any) -> DataFrame:
    data = [(vector, number % 2) for number, vector in enumerate(vectors)]
    return spark.createDataFrame(data, ["x", "y"]).coalesce(1)


def sparse(width: int = WIDTH) -> Any:
    return Vectors.sparse(width, {1: 1.0})


def network() -> Any:
    from mxnet import gluon

    return gluon.nn.Dense(2)


def test_wide_sparse_vectors_are_counted(spark: SparkSession) -> None:
    (found,) = dense.look(rows(spark, *[sparse()] * 3), [X])
    assert found == Dense("x", WIDTH, 4 * WIDTH, 3) and str(found) == SIZE
    hashed = HashingTF(numFeatures=WIDTH, inputCol="words", outputCol="x").transform(
        spark.range(5).select(F.array(F.lit("a")).alias("words"))
    )
    assert dense.look(hashed, [X]) == [Dense("x", WIDTH, 4 * WIDTH, 5)]


def test_what_is_narrow_or_dense_or_no_vector_is_left_alone(spark: SparkSession) -> None:
    assert not dense.look(rows(spark, *[sparse(100)] * 3), [X])
    assert not dense.look(rows(spark, *[Vectors.dense([0.0] * WIDTH)] * 3), [X])
    assert not dense.look(rows(spark, sparse()).filter("y > 5"), [X])
    assert not dense.look(spark.range(3).withColumn("x", F.lit(1.0)), [X])
    broken = F.udf(lambda number: 1 // 0, "int")
    assert not dense.look(rows(spark, sparse()).filter(broken("y") > 0), [X]), "the spool says why"


def test_what_does_not_fit_is_refused_before_it_is_begun(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "shutil", SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=100_000)))
    frame = rows(spark, *[sparse()] * 3)
    seen: list[Any] = []
    with pytest.raises(DataError, match=rf"{SIZE}, and .* has 0.0 GiB free; make the vectors shorter"):
        mxspark.train(
            frame, job={"dir": str(tmp_path / "job")}, data={"features": ["x"], "label": {"y": {"dtype": "int32"}}},
            training={"network": network, "loss": "softmax_cross_entropy"}, report={"progress": "off"},
            on_event=seen.append,
        )  # fmt: skip
    assert not seen and not (tmp_path / "job/_job.json").exists()


def test_what_fits_is_warned_of_and_trained_on(spark: SparkSession, tmp_path: Path) -> None:
    assert shutil.disk_usage(tmp_path).free > 1 << 20
    result = mxspark.train(
        rows(spark, *[sparse()] * 3), job={"dir": str(tmp_path / "job")},
        data={"features": ["x"], "label": {"y": {"dtype": "int32"}}}, checkpoint={"every_epochs": None},
        training={"network": network, "loss": "softmax_cross_entropy"}, report={"progress": "off"},
    )  # fmt: skip
    assert SIZE in result.warnings
