"""Weights of rows: declared as a column of their own, spooled like a label, and part of what a job is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spools

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.data import columns, row_problems
from mxspark.data.rows import ElementReader
from mxspark.data.spool import Content
from mxspark.data.survey import Survey
from mxspark.errors import ConfigError
from mxspark.job import class_weights
from mxspark.job.data_record import DataRecord
from mxspark.job.losses import Seen
from mxspark.job.record import JobRecord, differences
from mxspark.spark.spool import meaning


def job(weight: Any = "w", **training: Any) -> JobConfig:
    return JobConfig.from_dict(
        {
            "data": {"features": ["x"], "label": "y", "weight": weight},
            "training": {"network": "a:b", "loss": "l2", **training},
        }
    )


def spooled(folder: Path, weights: Any, weight: Any = "w") -> Survey:
    """Spool elements of an RDD: a feature, a label, a weight."""
    specs = job(weight).spooled()
    elements = [([1.0, 2.0], 0.5 * number, one) for number, one in enumerate(weights)]
    return spools.write(folder, [ElementReader(*specs).read(elements)], *specs)


def test_a_weight_is_declared_by_name_with_a_dtype_or_not_at_all() -> None:
    found = job().weight()
    assert found is not None and (found.name, found.shape, found.dtype, found.is_weight) == ("w", (), "float32", True)
    assert job({"w": None}) == job(["w"]) == job()
    double = job({"w": {"dtype": "float64"}}).weight()
    assert double is not None and double.dtype == "float64"
    assert job(None).weight() is None
    assert [spec.name for spec in job().spooled()[1]] == ["y", "w"] and [one.name for one in job().labels()] == ["y"]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (["v", "w"], "data.weight: names 2 columns, .*'v', 'w'.*, but a row has one weight; name one column"),
        ({}, "data.weight: names 0 columns"),
        ("y", "data: column y is both a label and the weight; remove it from one of them"),
        ("x", "data: column x is both a feature and the weight"),
        ({"w": {"shape": [1]}}, "data.weight.w.shape: is not a key"),
        ({"w": {"dtype": "object"}}, "data.weight.w.dtype: dtype 'object' cannot be trained on"),
    ],
)
def test_what_is_no_weight_is_refused_by_key(weight: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(weight)


def test_a_metric_of_mxnet_is_refused_before_the_start() -> None:
    with pytest.raises(
        ConfigError, match=r"training.metrics: mxnet.metric:F1 is an mxnet.metric.EvalMetric.*use a named"
    ):
        job(metrics=["mae", "mxnet.metric:F1"])
    assert job(None, metrics=["mxnet.metric:F1"]).training.metrics
    assert job(metrics=["mae", "team.metrics:f1"]).training.metrics


def test_a_column_that_is_no_number_a_row_is_refused_before_rows_are_read() -> None:
    features, labels = job().spooled()
    fields = {"x": "array<float>", "y": "double"}
    for kind in ("array<float>", "vector"):
        (line,) = columns.check((*features, *labels), {**fields, "w": kind})
        assert line.startswith(f"array 'w': column 'w' is of type {kind}, but a weight is one number a row; select")
    assert columns.check((*features, *labels), {**fields, "w": "boolean"}) == []
    assert "column 'w' does not exist" in columns.check((*features, *labels), fields)[0]


@pytest.mark.parametrize(
    ("weights", "weight", "message"),
    [
        (
            [1, 0, -0.5, -2],
            "w",
            r"column w: 2 rows are no valid weight .* partition 0, row 2: negative\); make them 0 or",
        ),
        ([1, None, 2], "w", r"column w: 1 row is null .*row 1: no value"),
        ([1, 2, float("nan")], "w", r"column w: 1 row is not finite .*row 2: NaN"),
        ([float("inf"), 2], "w", r"column w: 1 row is not finite .*row 0: infinite"),
        ([1e39, 2], "w", r"column w: 1 row is not finite .*row 0: too large for float32"),
        ([1, [1.0, 2.0]], "w", r"column w: 1 row is of another length .*row 1: length 2 where 1 was expected"),
        ([1, "2"], "w", r"column w: 1 row is not usable .*row 1: str"),
        ([1, 0.5], {"w": {"dtype": "int32"}}, r"column w: 1 row is no valid weight .*row 1: not a whole number"),
        ([1, -1], {"w": {"dtype": "int32"}}, r"column w: 1 row is no valid weight .*row 1: negative"),
        ([1, 1e-50], "w", r"column w: 1 row is no valid weight .*above 0 and too small for float32\).*multiply all"),
        ([2**24 + 1, 1], "w", r"column w: 1 row has whole numbers \(from 1 to 16,777,216\) that float32 rounds to other"
                              r"s: set data.weight.w.dtype: int32, or data.weight.w.dtype: float32 where that does no"),
        ([0, 0.0], "w", "column w: the weight of every row is 0, so that none counts; correct data.weight"),
    ],
)  # fmt: skip
def test_rows_whose_weight_cannot_be_meant_are_counted(tmp_path: Path, weights: Any, weight: Any, message: str) -> None:
    ready = spooled(tmp_path / "p", weights, weight)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(meaning.problems(job(weight), ready, None)))
    (line,) = meaning.problems(job(weight), spooled(tmp_path / "good", [1, 2], weight), ready)
    assert line.startswith("validation data: column w: ")


def test_the_advice_for_weights_that_are_rounded_or_too_small_works(tmp_path: Path) -> None:
    large, small = [2**24 + 1, 1], [1e-50, 3e-50]
    as_whole: Any = {"w": {"dtype": "int32"}}
    as_declared: Any = {"w": {"dtype": "float32"}}
    for number, (weights, weight, found) in enumerate(
        [
            (large, as_whole, []),
            (
                large,
                as_declared,
                ["as data.weight.w.dtype says; set data.weight.w.dtype: int32 where each number counts"],
            ),
            ([w * 1e50 for w in small], "w", []),
        ]
    ):
        ready = spooled(tmp_path / str(number), weights, weight)
        assert meaning.problems(job(weight), ready, None) == []
        warned = meaning.warnings(job(weight), ready, None)
        assert len(warned) == len(found) and all(line.endswith(end) for line, end in zip(warned, found)), warned


def test_weights_are_spooled_as_they_are(tmp_path: Path) -> None:
    ready = spooled(tmp_path / "p", [0, 0.1, np.float32(3), True, [2.5]])
    assert meaning.problems(job(), ready, None) == []
    (found,) = spools.read(ready, "w")
    np.testing.assert_array_equal(found, np.array([0, 0.1, 3, 1, 2.5], np.float32))


def test_a_weight_is_part_of_what_a_job_is(tmp_path: Path) -> None:
    ready = spooled(tmp_path / "p", [1, 2])
    features, labels = job().spooled()
    assert not row_problems.problems(ready, features, labels)
    with_weight = JobRecord(resolve.settings(job()), DataRecord.of(ready))
    assert JobRecord.from_bytes(with_weight.to_bytes("id")) == with_weight
    assert set(with_weight.data.checksums) == {"x", "y", "w"}
    without = resolve.settings(job(None))
    (line,) = differences(without, with_weight.settings)
    assert line.startswith("data.weight: was none, now ") and '"w"' in line


def test_a_job_without_a_weight_is_the_one_that_an_earlier_version_recorded() -> None:
    record = JobRecord(resolve.settings(job(None)), DataRecord((2,), {}, ()))
    found = json.loads(record.to_bytes("id"))
    settings = found["record"]["settings"]
    del settings["weight"]
    for spec in (*settings["features"], *settings["labels"]):
        del spec["is_weight"]
    assert JobRecord.from_bytes(json.dumps(found).encode()) == record


def classes(loss: Any, weights: Any, **label: Any) -> JobConfig:
    return JobConfig.from_dict(
        {
            "data": {"features": ["x"], "label": {"y": label}},
            "training": {"network": "a:b", "loss": loss, "class_weights": weights},
        }
    )


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ("softmax_cross_entropy", {0: 1, 7: 2.5}), ("sigmoid_binary_cross_entropy", {0: 0, 1: 3}),
        ("hinge", {-1: 1, 1: 2}), ("logistic", {-1: 1}), ({"name": "logistic", "label_format": "binary"}, {0: 1, 1: 2}),
    ],
)  # fmt: skip
def test_classes_of_a_loss_may_be_weighed(loss: Any, weights: Any) -> None:
    assert classes(loss, weights).training.spec().class_weights == tuple(sorted(weights.items()))


@pytest.mark.parametrize(
    ("loss", "weights", "message"),
    [
        (
            "l2",
            {0: 1},
            "training.class_weights: training.loss l2 takes any numbers, which are no classes; leave it out",
        ),
        ({"name": "softmax_cross_entropy", "sparse_label": False}, {0: 1}, "which are no classes"),
        ("a:b", {0: 1}, "training.class_weights: a:b is a function of yours, whose classes are not known"),
        ("hinge", {0: 1, 1: 2}, "training.class_weights: 0 is no class of training.loss hinge, which takes -1 and 1"),
        ("softmax_cross_entropy", {-1: 1}, "-1 is no class of training.loss softmax_cross_entropy"),
        ("sigmoid_binary_cross_entropy", {2: 1}, "2 is no class of"),
        ("softmax_cross_entropy", {0: -1}, "training.class_weights.0: input should be greater than or equal to 0"),
        ("softmax_cross_entropy", {0: float("inf")}, "training.class_weights.0: "),
        (
            "softmax_cross_entropy",
            "balanced",
            "training.class_weights: is 'balanced'; give a mapping from class to weight",
        ),
        ("softmax_cross_entropy", {}, "training.class_weights: names no class"),
        ("softmax_cross_entropy", {"1": 1, "01": 9}, "training.class_weights: names class 1 twice; remove one of them"),
        ("softmax_cross_entropy", {"cat": 1}, "training.class_weights"),
    ],
)
def test_what_is_no_weight_of_a_class_is_refused(loss: Any, weights: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        classes(loss, weights)


def test_a_weight_of_a_class_beyond_those_declared_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 is no class of a label with classes: 5; correct one of them"):
        classes("softmax_cross_entropy", {0: 1, 5: 2}, classes=5)


def test_labels_without_one_class_a_row_are_refused_where_classes_are_weighed() -> None:
    several = Seen((2,), 0, 1, Content(True, True, (0, 2)))
    shares = Seen((), 0, 1, Content(False, True, (0, 1)))
    found = [class_weights.label_problem("y", seen) for seen in (several, shares, Seen((1,), 0, 1, several.content))]
    assert "label 'y' has 2 values in a row, and training.class_weights weighs rows of one class" in str(found[0])
    assert "for labels that are probabilities" in str(found[1])
    assert found[2] is None
