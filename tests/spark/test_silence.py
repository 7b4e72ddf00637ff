"""Rows that would train something else are refused by a whole run, or warned of in its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

import mxspark
from mxspark.errors import DataError


def linear() -> Callable[[], Any]:
    """Return a function that travels by value, as one of a notebook does: workers have no such module."""

    def network() -> Any:
        from mxnet import gluon

        return gluon.nn.Dense(1)

    return network


def train(df: Any, folder: Path, loss: str, **data: Any) -> mxspark.Result:
    return mxspark.train(
        df,
        job={"dir": str(folder)},
        data={"features": {"x": {}}, "label": {"y": {}}, **data},
        training={"network": linear(), "loss": loss, "initializer": "zeros"},
        report={"progress": "off"},
        checkpoint={"every_epochs": None},
    )


def test_labels_and_numbers_that_mean_something_else_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    halves = spark.range(64).selectExpr("array(cast(id as float)) as x", "cast(id % 2 as int) as y")
    with pytest.raises(DataError, match=r"label 'y' has values from 0 to 1, but training.loss hinge takes -1 and 1"):
        train(halves, tmp_path / "hinge", "hinge")
    ids = spark.range(64).selectExpr("array(id + 16777216) as x", "cast(id as float) as y")
    with pytest.raises(DataError, match=r"column x: .* rows have whole numbers .* set data.features.x.dtype: int32"):
        train(ids, tmp_path / "ids", "l2")
    assembled = ids.selectExpr("x", "y").rdd.map(lambda row: (Vectors.dense([row.x[0], 0.5]), row.y)).toDF(["x", "y"])
    with pytest.raises(DataError, match=r"column x: .* rows have whole numbers .* that float32 rounds to others"):
        train(assembled, tmp_path / "assembled", "l2")
    result = train(ids, tmp_path / "said", "l2", features={"x": {"dtype": "float32", "shape": [1]}})
    assert any("that float32 rounds to others, as data.features.x.dtype says" in line for line in result.warnings)


def test_what_the_message_advises_trains_what_was_meant(spark: SparkSession, tmp_path: Path) -> None:
    rows = [([float(x)], 2 * (x > 0) - 1) for x in (-2, -1, 1, 2)] * 8
    frame = spark.createDataFrame(rows, "x array<float>, y int").coalesce(1)
    result = train(frame, tmp_path / "advised", "hinge")
    assert result.model is not None
    (weight, bias) = (value.data().asnumpy() for value in result.model.load().collect_params().values())
    # at zero weights every row's hinge pulls: the mean of y * x is 1.5, at the default rate of 0.01
    np.testing.assert_allclose((weight.item(), bias.item()), (0.015, 0.0), atol=1e-7)


def test_weights_weigh_rows_of_a_data_frame_and_of_an_rdd_on_all_workers(spark: SparkSession, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2)).astype(np.float32)
    y = x @ [2.0, -1.0] + rng.normal(size=64)
    w = np.where(np.arange(64) % 4 == 0, 5.0, 0.1)
    rows = [(x[i].tolist(), float(y[i]), float(w[i])) for i in range(64)]
    frame = spark.createDataFrame(rows, "x array<float>, y double, w double").repartition(3)
    frame.limit(20).write.parquet(str(tmp_path / "validation"))
    seen = frame.limit(20).collect()
    pull = (x * (-y * w)[:, None]).sum(0) / w.sum()
    expected = np.append(-0.01 * pull, 0.01 * (y * w).sum() / w.sum())
    for number, data in enumerate((frame, spark.sparkContext.parallelize(rows, 3))):
        result = mxspark.train(
            data,
            job={"dir": str(tmp_path / str(number))},
            data={
                "features": {"x": {"shape": [2]}}, "label": "y", "weight": "w",
                "validation": {"path": str(tmp_path / "validation")},
            },
            training={"network": linear(), "loss": "l2", "initializer": "zeros", "batch_size": 64},
            cluster={"num_workers": 2},
            report={"progress": "off"},
            checkpoint={"every_epochs": None},
        )  # fmt: skip
        assert result.model is not None
        found = np.concatenate([p.data().asnumpy().ravel() for p in result.model.load().collect_params().values()])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
        losses = [0.5 * (np.dot(row.x, expected[:2]) + expected[2] - row.y) ** 2 for row in seen]
        weighted = np.average(losses, weights=[row.w for row in seen])
        assert result.metrics["validation"]["last"]["loss"] == pytest.approx(weighted, rel=1e-4)
        assert result.metrics["training"]["last"]["loss"] == pytest.approx(np.average(y**2 / 2, weights=w), rel=1e-4)
