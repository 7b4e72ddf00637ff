"""Labels that a loss cannot mean are refused, with the key to change; what it can mean passes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import spools

from mxspark.config.job_config import JobConfig
from mxspark.data import element_cells
from mxspark.data.cells import Cells
from mxspark.data.rows import ElementReader, RowBlock
from mxspark.data.spool import ColumnSpec
from mxspark.data.survey import Survey
from mxspark.errors import ConfigError
from mxspark.job import catalog, losses
from mxspark.job.spec import Component, Function
from mxspark.spark.spool import inputs, meaning


def spooled(
    folder: Path, label: Any, dtype: str = "float32", feature: Any = None, others: Sequence[Any] = (), **spec: Any
) -> Survey:
    """Spool a label ``y`` and a feature ``x``, in two batches; with `others` of the feature in further partitions."""
    labels = np.asarray(label)
    x = ColumnSpec("x", ("x",), None, spec.pop("feature_dtype", "float32"))
    y = ColumnSpec("y", ("y",), None, dtype, **spec)
    features = [np.zeros(len(labels)) if feature is None else np.asarray(feature), *others]
    survey = spools.write(folder, [[*_blocks(rows, labels)] for rows in features], [x], [y])
    assert not survey.problems
    return survey


def _blocks(rows: Any, labels: Any) -> Iterator[RowBlock]:
    for part in (slice(0, 1), slice(1, None)):
        if len(labels[part]):
            yield RowBlock(((Cells(rows[part]),), (Cells(labels[part]),)), len(labels[part]))


def problem(folder: Path, loss: dict[str, Any], label: Any, dtype: str = "float32") -> Optional[str]:
    name = loss["name"]
    component = Component(name, {key: value for key, value in loss.items() if key != "name"})
    return losses.problem(component, "y", losses.seen("y", spooled(folder, label, dtype).arrays))


def test_every_named_loss_with_every_meaning_has_its_row() -> None:
    for name, known in catalog.LOSSES.items():
        option, default = losses.MEANING.get(name, ("", None))
        values = {True, False} if option == "sparse_label" else set(known.options[option].choices) if option else {None}
        assert {value for other, value in losses.TABLE if other == name} == values and default in values
    assert {name for name, _ in losses.TABLE} == set(catalog.LOSSES)


INDICES, SIGNED, BINARY, AMOUNTS = [0.0, 2.0, 1.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [12.5, -3.0, 40.0]
UNIT, COUNTS, ONE_HOT = [0.05, 0.95, 0.95], [3.0, 7.0, 900.0], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
SHARES, HALVES = [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], [[0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]
SOFTMAX, DENSE = {"name": "softmax_cross_entropy"}, {"name": "softmax_cross_entropy", "sparse_label": False}
BCE, HINGE, SQUARED = {"name": "sigmoid_binary_cross_entropy"}, {"name": "hinge"}, {"name": "squared_hinge"}
LOGISTIC, LOGISTIC_01 = {"name": "logistic"}, {"name": "logistic", "label_format": "binary"}
KL, CTC = {"name": "kl_div"}, {"name": "ctc"}


@pytest.mark.parametrize(
    ("loss", "label"),
    [
        (SOFTMAX, INDICES), (SOFTMAX, BINARY), (SOFTMAX, [[0.0, 4.0], [1.0, 2.0]]), (SOFTMAX, [0.0, 0.0]),
        (DENSE, ONE_HOT), (DENSE, SHARES), (DENSE, [[0.33, 0.33, 0.33]] * 2), (KL, SHARES), (KL, ONE_HOT),
        (BCE, BINARY), (BCE, UNIT), (BCE, [[0.0, 1.0], [1.0, 1.0]]), (BCE, [1.0, 1.0]),
        (HINGE, SIGNED), (SQUARED, SIGNED), (LOGISTIC, SIGNED), (LOGISTIC, [1.0, 1.0]), (LOGISTIC_01, BINARY),
        (CTC, [[0.0, 3.0, -1.0], [1.0, 1.0, 2.0]]),
        *(({"name": name}, label) for name in ("l1", "l2", "huber") for label in (AMOUNTS, UNIT, SIGNED, SHARES)),
    ],
)  # fmt: skip
def test_labels_that_a_loss_can_mean_pass(tmp_path: Path, loss: dict[str, Any], label: Any) -> None:
    assert problem(tmp_path, loss, label) is None


@pytest.mark.parametrize(
    ("loss", "label", "message"),
    [
        (SOFTMAX, UNIT, "values from 0.05 to 0.95, not all of them whole, but training.loss softmax_cross_entropy takes"
                        " whole numbers from 0 on.*: set training.loss: sigmoid_binary_cross_entropy, .* one output"),
        (SOFTMAX, SIGNED, r"values from -1 to 1, but .*: map the labels to 0 and 1, by \(y \+ 1\) / 2"),
        (SOFTMAX, AMOUNTS, "values from -3 to 40, not all of them whole, .*: .* set training.loss: l2 for amounts"),
        (SOFTMAX, SHARES, "3 in a row, which add up to 1.*: set sparse_label: false beside its name"),
        (DENSE, INDICES, "takes one probability a class, .*: set sparse_label: true beside its name"),
        (DENSE, HALVES, "which add up to 0.5, but training.loss softmax_cross_entropy takes one probability a class"),
        (DENSE, [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]], "1 to 2, but .*: set training.loss: sigmoid_binary_cross_entropy"),
        (BCE, SIGNED, r"takes 0 and 1, or .*: set training.loss: logistic, or map the labels to 0 and 1"),
        (BCE, COUNTS, "values from 3 to 900, but .*: set training.loss: softmax_cross_entropy for classes, or l2"),
        (BCE, AMOUNTS, "set training.loss: l2 for amounts"),
        (HINGE, BINARY, r"takes -1 and 1: map the labels to -1 and 1, by 2 \* y - 1"),
        (SQUARED, BINARY, r"takes -1 and 1: map the labels to -1 and 1, by 2 \* y - 1"),
        (HINGE, [-1.0, 0.0, 1.0], "values from -1 to 1, 0 among them, but training.loss hinge takes -1 and 1"),
        (HINGE, [-1.0, 0.5, 1.0], "not all of them whole"),
        (HINGE, UNIT, "set training.loss: sigmoid_binary_cross_entropy"),
        (LOGISTIC, BINARY, "takes -1 and 1: set label_format: binary beside its name"),
        (LOGISTIC, [0.0, 0.0], "takes -1 and 1: set label_format: binary beside its name"),
        (LOGISTIC_01, SIGNED, "takes 0 and 1: set label_format: signed beside its name"),
        (LOGISTIC_01, UNIT, "takes 0 and 1: set training.loss: sigmoid_binary_cross_entropy"),
        (KL, INDICES, "takes one probability a class, .*: set training.loss: softmax_cross_entropy for classes"),
        (KL, HALVES, "which add up to 0.5"),
        (KL, [[-0.5, 1.5], [0.5, 0.5]], "values from -0.5 to 1.5"),
        (CTC, INDICES, "takes a list of class indices"),
        (CTC, [[0.5, 1.0], [1.0, 1.0]], "not all of them whole"),
        (CTC, [[0.0, -2.0], [1.0, -1.0]], "values from -2 to 1"),
    ],
)  # fmt: skip
def test_labels_that_a_loss_cannot_mean_are_refused(
    tmp_path: Path, loss: dict[str, Any], label: Any, message: str
) -> None:
    found = problem(tmp_path, loss, label)
    assert found is not None and found.startswith("label 'y' has values from ")
    assert re.search(message, found), found


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float16", "float64"])
def test_every_dtype_of_a_label_is_judged(tmp_path: Path, dtype: str) -> None:
    assert problem(tmp_path, HINGE, [0, 1, 1], dtype) is not None


def test_a_loss_of_the_users_takes_what_it_takes(tmp_path: Path) -> None:
    mine = Component("mine", function=Function("mine", path="a:mine"))
    assert losses.problem(mine, "y", losses.seen("y", spooled(tmp_path, AMOUNTS).arrays)) is None
    assert losses.too_many_labels(mine, ["y", "w"]) is None


def test_what_one_partition_holds_is_enough(tmp_path: Path) -> None:
    def seen(*labels: list[float]) -> Any:
        parts = [[*_blocks(np.zeros(len(part)), np.array(part))] for part in labels]
        x, y = (ColumnSpec(name, (name,), None, "float32") for name in "xy")
        return losses.seen("y", spools.write(tmp_path / str(len(labels)), parts, [x], [y]).arrays)

    logistic = Component("logistic")
    assert losses.problem(logistic, "y", seen([1, 1], [])) is None
    assert losses.problem(logistic, "y", seen([1, 1], [], [0])) is not None
    assert seen([]) is None


def test_a_second_label_of_a_named_loss_is_refused_by_name() -> None:
    raw: dict[str, Any] = {
        "data": {"features": ["x"], "label": {"y": {}, "w": {}}},
        "training": {"network": "a:b", "loss": "l2"},
    }
    with pytest.raises(ConfigError) as caught:
        JobConfig.from_dict(raw)
    assert str(caught.value).endswith(
        "data.label: y, w are 2 labels, but training.loss l2 takes one, and would take 'w' for a weight or a length: "
        "leave one and set data.weight: w if it is what a row counts, or make one array column of several targets, "
        "F.array('y', 'w'), or give a function (output, y, w) that returns one value a row"
    )
    raw["training"]["loss"] = "my.module:loss"
    assert len(JobConfig.from_dict(raw).labels()) == 2


def against(loss: dict[str, Any], label: Any, output: tuple[int, ...], folder: Path) -> Optional[str]:
    component = Component(loss["name"], {key: value for key, value in loss.items() if key != "name"})
    return losses.against_output(component, "y", losses.seen("y", spooled(folder, label).arrays), output)


def test_labels_are_held_against_the_outputs_of_the_network(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], Any, tuple[int, ...], Optional[str]]] = [
        (SOFTMAX, ONE_HOT, (8, 3), "3 values in a row, .* 3 classes: set its sparse_label: false"),
        (SOFTMAX, [[0.0, 4.0], [1.0, 2.0]], (8, 5), "2 values in a row, .*: give one label a row"),
        (SOFTMAX, [[0.0, 4.0], [1.0, 2.0]], (8, 2, 5), None),
        (SOFTMAX, INDICES, (8, 3), None),
        (DENSE, ONE_HOT, (8, 3), None),
        (CTC, [[0.0, 3.0], [1.0, -1.0]], (8, 20, 5), None),
        (CTC, [[0.0, 4.0], [1.0, -1.0]], (8, 20, 5), "values to 4, but .* 5 outputs, .* give it 6 outputs"),
    ]  # fmt: skip
    for number, (loss, label, output, message) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = against(loss, label, output, folder)
        assert (found is None) if message is None else (found is not None and re.search(message, found)), found


def job(loss: str = "l2", **data: Any) -> JobConfig:
    sections = {"features": {"x": {}}, "label": {"y": {}}, **data}
    return JobConfig.from_dict({"data": sections, "training": {"network": "a:b", "loss": loss}})


IDS = [16_777_217, 16_777_219, 5]


@pytest.mark.parametrize(
    "feature",
    [
        np.array(IDS), np.array(IDS, dtype=np.uint32), np.array(IDS, dtype=np.float64),
        np.array([-(2**24) - 1, 0, 1]), np.array([1_700_000_001, 1_700_000_002, 1_700_000_003]),
        np.array([[1.5, 2.0**24 + 1], [2.5, 3.0], [0.25, 7.0]]),
    ],
)  # fmt: skip
def test_whole_numbers_that_the_default_dtype_rounds_are_refused(tmp_path: Path, feature: Any) -> None:
    (line,) = meaning.problems(job(), spooled(tmp_path, AMOUNTS, feature=feature), None)
    said = r"column x: \d rows? ha(s|ve) whole numbers \(from .* to .*\) that float32 rounds to others: set "
    assert re.match(
        said + "data.features.x.dtype: int32, or data.features.x.dtype: float32 where that does no harm", line
    )


@pytest.mark.parametrize(
    "feature",
    [
        np.array([2**24, -(2**24), 0]), np.array([2**30, 2**24 + 2, 0]), np.array([1e9 + 0.25, 3.0, 1e12 + 1]),
        np.array([0.5, 3.0, 1e12 + 1]), np.array([6.02e23, 1.3e24, 2.0]),
        np.array([1e9 + 1, 3.0, 7.0], dtype=np.float32), np.array([0.1, 0.2, 0.3]),
    ],
)  # fmt: skip
def test_numbers_that_float32_holds_and_measurements_pass(tmp_path: Path, feature: Any) -> None:
    assert not meaning.problems(job(), spooled(tmp_path, AMOUNTS, feature=feature), None)


def test_what_one_partition_shows_of_a_column_holds_for_all(tmp_path: Path) -> None:
    whole, fractions = np.array([20_000_001.0, 30_000_003.0, 4.0]), np.array([0.5, 1.25, 4.0])
    assert meaning.problems(job(), spooled(tmp_path / "one", AMOUNTS, feature=whole), None)
    both = spooled(tmp_path / "two", AMOUNTS, feature=whole, others=[fractions])
    assert not meaning.problems(job(), both, None), "it is a measurement, of which one partition has whole numbers only"


def test_a_column_is_a_measurement_whether_training_or_validation_rows_show_it(tmp_path: Path) -> None:
    whole, fractions = np.array([20_000_001.0, 30_000_003.0, 4.0]), np.array([0.5, 1.25, 4.0])
    ready = []
    for name, rows in (("whole", whole), ("fractions", fractions), ("ids", whole + 2)):
        ready.append(spooled(tmp_path / name, AMOUNTS, feature=rows))
    assert not meaning.problems(job(), ready[0], ready[1]) and not meaning.problems(job(), ready[1], ready[0])
    assert [line[:15] for line in meaning.problems(job(), ready[0], ready[2])] == ["column x: 2 row", "validation data"]
    declared = job(features={"x": {"dtype": "float32"}})
    assert not meaning.warnings(declared, ready[0], ready[1])
    assert [line[:15] for line in meaning.warnings(declared, ready[0], ready[2])] == [
        "column x: 2 row",
        "validation data",
    ]


def test_a_column_that_is_0_only_for_want_of_range_is_refused_and_a_scale_mends_it(tmp_path: Path) -> None:
    tiny = np.array([1e-50, 0.0, 3e-47])
    ready = spooled(tmp_path / "tiny", AMOUNTS, feature=tiny)
    (line,) = meaning.problems(job(), ready, None)
    assert line == (
        "column x: every number is too small for float32, which makes it 0; set a data.features.x.scale that makes "
        "them larger"
    )
    some = np.array([1e-50, 0.25, 1.0])
    assert not meaning.problems(job(), spooled(tmp_path / "some", AMOUNTS, feature=some), None)
    assert not meaning.problems(job(), spooled(tmp_path / "both", AMOUNTS, feature=tiny, others=[some]), None)
    assert not meaning.problems(job(), spooled(tmp_path / "zeros", AMOUNTS), None)
    specs = job(features={"x": {"scale": 1e47}}).spooled()
    found = spools.write(tmp_path / "scaled", [[*_blocks(tiny, np.array(AMOUNTS))]], *specs).arrays[0]
    assert not found.has_vanished and found.maximum == pytest.approx(3.0)


def test_rows_that_begin_with_whole_numbers_are_measurements_all_the_same(tmp_path: Path) -> None:
    rows = np.concatenate([np.zeros(200), np.full(200, 0.5)])
    x, y = ColumnSpec("x", ("x",), None, "float32"), ColumnSpec("y", ("y",), None, "float32")
    blocks = [
        RowBlock(((Cells(part),), (Cells(np.zeros(len(part))),)), len(part)) for part in (rows, np.array([2e7 + 1]))
    ]
    assert spools.write(tmp_path, [blocks], [x], [y]).arrays[0].has_fractions


def test_rounded_probabilities_of_many_classes_add_up(tmp_path: Path) -> None:
    made = np.random.default_rng(7).dirichlet(np.full(100, 0.5), 50).round(2)
    assert abs(made.sum(axis=1) - 1).max() > 0.02
    assert problem(tmp_path, DENSE, made) is None


def test_a_declared_dtype_rounds_with_a_warning(tmp_path: Path) -> None:
    declared = job(features={"x": {"dtype": "float16"}})
    part = spooled(tmp_path, AMOUNTS, feature=np.array([2049, 1, 2]), feature_dtype="float16")
    assert not meaning.problems(declared, part, None)
    (line,) = meaning.warnings(declared, part, None)
    assert line == (
        "column x: 1 row has whole numbers (from 1 to 2,048) that float16 rounds to others, as data.features.x.dtype "
        "says; set data.features.x.dtype: int32 where each number counts"
    )


def test_the_advised_dtype_holds_every_number(tmp_path: Path) -> None:
    for dtype, ids in (("int32", IDS), ("int64", [2**40 + 1, 2**53 + 1, 3])):
        part = spooled(tmp_path / dtype, AMOUNTS, feature=np.array(ids), feature_dtype=dtype)
        advised = job(features={"x": {"dtype": dtype}})
        assert not meaning.problems(advised, part, None) and not meaning.warnings(advised, part, None)
        assert spools.whole(part, "x") == ids
    (line,) = meaning.problems(job(), spooled(tmp_path, AMOUNTS, feature=np.array([2**40 + 1, 1, 2])), None)
    assert "set data.features.x.dtype: int64" in line


@pytest.mark.parametrize("beside", [np.array([0.5, 1.5, 2.5]), np.array([0.5, 1.5, 2.5], dtype=np.float32)])
def test_ids_of_64_bits_beside_a_column_of_fractions_are_seen_as_the_ids_they_are(tmp_path: Path, beside: Any) -> None:
    ids = np.array([2**62 + 1, 2**53 + 1, 7])
    specs = job(features={"x": {"columns": ["id", "amount"]}}).spooled()
    block = RowBlock(((Cells(ids), Cells(beside)), (Cells(np.array(AMOUNTS)),)), 3)
    found = spools.write(tmp_path / "float", [[block]], *specs).arrays[0]
    assert (found.rounded, found.has_fractions) == (2, False), "a double that large shows no fraction, an id is one"
    specs = job(features={"x": {"columns": ["id", "amount"], "dtype": "int64"}}).spooled()
    block = RowBlock(((Cells(ids), Cells(np.rint(beside))), (Cells(np.array(AMOUNTS)),)), 3)
    survey = spools.write(tmp_path / "whole", [[block]], *specs)
    assert spools.read(survey, "x")[0][:, 0].tolist() == ids.tolist()


def test_whole_numbers_beyond_a_double_are_scaled_as_what_they_are(tmp_path: Path) -> None:
    def made(values: Any, scale: float) -> Any:
        specs = job(features={"x": {"dtype": "int64", "scale": scale}}).spooled()
        block = RowBlock(((Cells(np.array(values)),), (Cells(np.array(AMOUNTS)),)), 3)
        survey = spools.write(tmp_path / f"{scale}{values[0]}", [[block]], *specs)
        return [problem.first.detail for problem in survey.problems] or spools.whole(survey, "x")

    assert made([2**60 + 1, 2, 3], 2.0) == [2**61 + 2, 4, 6]
    assert made([2**60 + 1, 2, 4], 0.5) == ["not a whole number once multiplied by scale 0.5"]
    assert made([300, 10, 20], 0.1) == [30, 1, 2], "cents are rounded as people expect"
    specs = job(features={"x": {"dtype": "int64"}}).spooled()
    survey = spools.write(tmp_path / "mixed", [ElementReader(*specs).read([(2**60 + 1, 1.0), (3.0, 2.0)])], *specs)
    assert spools.whole(survey, "x") == [2**60 + 1, 3]


@pytest.mark.parametrize(
    "element",
    [[2**53 + 1, 2.0], (2**53 + 1, 2.0), np.array([2**53 + 1, 2.0], dtype=object), [np.int64(2**53 + 1), 2.0]],
)
def test_an_id_beside_a_fraction_in_one_list_stays_the_id_it_is(tmp_path: Path, element: Any) -> None:
    specs = job(features={"x": {"dtype": "int64", "shape": [2]}}).spooled()
    rows = [(element, 1.0), ([1.0, 2.0], 0.0), ([3, 4], 0.0)]
    survey = spools.write(tmp_path, [ElementReader(*specs).read(rows)], *specs)
    assert not survey.problems
    assert spools.read(survey, "x")[0].tolist() == [[2**53 + 1, 2], [1, 2], [3, 4]]


def test_a_list_of_measurements_is_one_of_doubles() -> None:
    assert element_cells.number([1e300, 2.5]).dtype == element_cells.number([1.5, 2**53]).dtype == np.float64
    assert np.isnan(element_cells.number([np.nan, 2**53 + 1])[0])


def test_labels_that_never_change_and_validation_rows_that_were_trained_on_are_warned_of(tmp_path: Path) -> None:
    ones, good = spooled(tmp_path / "ones", [1.0, 1.0]), spooled(tmp_path / "good", BINARY)
    (line,) = meaning.warnings(job(), ones, None)
    assert line.startswith("label 'y' is 1 in every training row, so that nothing can be learnt; check the filters")
    assert not meaning.warnings(job("my.module:loss"), ones, None), "it need not look at it"
    x, y = (ColumnSpec(name, (name,), None, "float32") for name in "xy")
    parts = [[*_blocks(np.zeros(len(part)), np.array(part))] for part in ([1.0, 1.0], BINARY)]
    assert not meaning.warnings(job(), spools.write(tmp_path / "both", parts, [x], [y]), None)
    (line,) = meaning.warnings(job(), good, good)
    assert line.startswith("the validation rows are the training rows, number for number")
    assert not meaning.warnings(job(), good, spooled(tmp_path / "other", SIGNED))


def test_labels_beyond_float32_are_refused_and_a_scale_mends_them(tmp_path: Path) -> None:
    (line,) = meaning.problems(job(), spooled(tmp_path, IDS), None)
    assert "column y: 2 rows have" in line and "set a data.label.y.scale that makes them small" in line
    assert not meaning.problems(job(), spooled(tmp_path / "scaled", IDS, scale=1e-6), None)


@pytest.mark.parametrize(
    ("metric", "label", "refused"),
    [
        *((name, SIGNED, None) for name in losses.OF_TWO),
        ("f1", [-1.0, 0.0, 1.0], "0 among them, but the metric f1 takes 0 and 1, or -1 and 1: map the labels to that"),
        ("log_loss", [-1.0, 2.0], "but the metric log_loss takes whole numbers from 0 on"),
        ("binary_accuracy", UNIT, "not all of them whole, but the metric binary_accuracy takes 0 and 1, or -1 and 1"),
        ("binary_accuracy", BINARY, None),
        (
            "cross_entropy",
            SIGNED,
            "the metric cross_entropy takes whole .*: use log_loss, which takes these, leave the",
        ),
        ("accuracy", SIGNED, "the metric accuracy takes whole numbers .*: use binary_accuracy, which takes these, lea"),
        ("perplexity", SIGNED, "the metric perplexity takes whole numbers from 0 on.*: map the labels to that, leave"),
        ({"name": "f1", "average": "macro"}, SIGNED, "f1 takes whole .*: remove its option average, of two classes it"),
        ("accuracy", UNIT, "but the metric accuracy takes whole numbers from 0 on"),
        ("accuracy", INDICES, None),
        ("mae", AMOUNTS, None),
        (
            "f1",
            INDICES,
            "metric f1 takes 0 and 1, or -1 and 1: set its option average or class for several classes, map ",
        ),
        (
            "auc",
            INDICES,
            "metric auc takes 0 and 1, or -1 and 1: set its option class for several classes, map the lab",
        ),
        ({"name": "f1", "average": "macro"}, INDICES, None),
        ({"name": "auc", "class": 2}, INDICES, None),
        ("confusion", BINARY, None),
        ("r2", AMOUNTS, None),
    ],
)
def test_labels_that_a_metric_cannot_mean_are_refused(
    tmp_path: Path, metric: Any, label: Any, refused: Optional[str]
) -> None:
    sections = {"features": {"x": {}}, "label": {"y": {}}}
    training = {"network": "a:b", "loss": "l2", "metrics": [metric]}
    judged = JobConfig.from_dict({"data": sections, "training": training})
    found = meaning.problems(judged, spooled(tmp_path, label), None)
    assert not found if refused is None else (len(found) == 1 and re.search(refused, found[0])), found


def test_a_declared_int_label_that_the_loss_rounds_is_a_warning(tmp_path: Path) -> None:
    declared = job(label={"y": {"dtype": "int32"}})
    part = spooled(tmp_path, IDS, "int32")
    assert not meaning.problems(declared, part, None)
    (line,) = meaning.warnings(declared, part, None)
    assert "label 'y' has whole numbers to 16,777,219, and training.loss l2 computes in the type of the network" in line
    assert not meaning.warnings(job("softmax_cross_entropy", label={"y": {"dtype": "int32"}}), part, None)


MINE = "my.module:loss"


@pytest.mark.parametrize(
    ("loss", "label", "metrics", "reason"),
    [
        (SOFTMAX, {}, [], "training.loss softmax_cross_entropy takes whole numbers from 0 on: the index of the class"),
        (CTC, {}, [], "training.loss ctc takes a list of class indices from 0 on in every row, then -1"),
        (MINE, {"classes": 5}, [], "classes: 5 says that it holds indices of classes"),
        (MINE, {}, ["accuracy"], "the metric accuracy takes whole numbers from 0 on: the index of the class"),
        (MINE, {}, [{"name": "f1", "average": "macro"}], "the metric f1 takes whole numbers from 0 on: the index of"),
        (MINE, {}, [], ""),
        (MINE, {}, [{"name": "accuracy", "label": 1}], ""),
        (DENSE, {}, [], ""), (KL, {}, [], ""), ({"name": "l2"}, {}, ["mae", "r2"], ""),
        # of two classes the rows show what they have become: masks of 0 and 255 are scaled
        *((loss, {"classes": 2}, ["f1", "log_loss", "auc"], "") for loss in (BCE, HINGE, SQUARED, LOGISTIC)),
    ],
)  # fmt: skip
def test_a_scale_on_the_index_of_a_class_is_refused_before_the_start(
    loss: Any, label: dict[str, Any], metrics: list[Any], reason: str
) -> None:
    def judged(scale: float) -> str:
        labels = {"y": {**label, "scale": scale}} | ({"z": {}} if loss == MINE else {})
        sections = {"features": {"x": {"scale": 2.0}}, "label": labels}
        try:
            JobConfig.from_dict({"data": sections, "training": {"network": "a:b", "loss": loss, "metrics": metrics}})
        except ConfigError as error:
            return error.message.splitlines()[1]
        return ""

    assert not judged(1)
    line = judged(2)
    assert line.startswith(f"  - data.label.y.scale: is 2, but {reason}") if reason else not line, line
    assert not reason or line.endswith(
        "makes other classes of them; leave it out, and where the column holds something else make one of the indices"
    )


@pytest.mark.parametrize(
    ("loss", "label", "scale", "advice"),
    [
        (BCE, BINARY, 1 / 255, "label 'y' goes up to 1, and data.label.y.scale: 0.00392157 makes 0.00392"),
        (BCE, BINARY, 2.0, "data.label.y.scale: 2 makes 2 of that, but training.loss sigmoid_binary_cross_"),
        (LOGISTIC_01, BINARY, 0.5, "but training.loss logistic takes 0 and 1: leave the scale out"),
        (HINGE, SIGNED, 0.5, "but training.loss hinge takes -1 and 1: leave the scale out"),
        (DENSE, ONE_HOT, 0.5, "takes one probability a class, adding up to 1 in every row: leave the scale out"),
        (BCE, [0.0, 255.0, 255.0], 1 / 255, ""), (BCE, [3.0, 99.0, 20.0], 0.01, ""), (BCE, [0.0, 1.0], 1.0, ""),
        (HINGE, [-2.0, 2.0, 2.0], 0.5, ""), (DENSE, [[20.0, 80.0], [50.0, 50.0]], 0.01, ""),
        ({"name": "l2"}, BINARY, 0.5, ""), (HINGE, SIGNED, -1.0, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_scale_that_a_label_does_not_need_is_refused_by_its_rows(
    tmp_path: Path, loss: Any, label: Any, scale: float, advice: str, dtype: str
) -> None:
    sections = {"features": {"x": {}}, "label": {"y": {"scale": scale, "dtype": dtype}}}
    judged = JobConfig.from_dict({"data": sections, "training": {"network": "a:b", "loss": loss}})
    found = meaning.problems(judged, spooled(tmp_path, label, dtype, scale=scale), None)
    assert [advice in line for line in found] == [True] * bool(advice), found


def test_validation_rows_are_judged_too(tmp_path: Path) -> None:
    good, bad = spooled(tmp_path / "a", SIGNED), spooled(tmp_path / "b", BINARY)
    (line,) = meaning.problems(job("hinge"), good, bad)
    assert line.startswith("validation data: label 'y' has values from 0 to 1, but training.loss hinge takes -1 and 1")


def test_the_documentation_shows_the_table_as_it_is() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/silence.md").read_text()
    for (name, value), takes in losses.TABLE.items():
        option, default = losses.MEANING.get(name, ("", None))
        shown = f"`{name}`" if value == default else f"`{name}`, `{option}: {str(value).lower()}`"
        assert f"| {shown} | {takes.words} |" in page


def test_metrics_that_need_all_rows_are_refused_without_validation_rows() -> None:
    sections = {"features": {"x": {}}, "label": {"y": {}}}
    training = {
        "network": "locale:getlocale",
        "loss": "l2",
        "metrics": ["auc", "f1", "mxnet.metric:F1", "mxnet.metric:MAE"],
    }
    job = JobConfig.from_dict({"data": sections, "training": training})
    with pytest.raises(ConfigError) as found:
        inputs.check(job, None, None)
    assert re.findall(r"training.metrics: (\S+) is worked out from all validation rows", str(found.value)) == [
        "auc",
        "mxnet.metric:F1",
    ]
    sections["validation"] = {"fraction": 0.2}
    inputs.check(JobConfig.from_dict({"data": sections, "training": training}), None, None)
