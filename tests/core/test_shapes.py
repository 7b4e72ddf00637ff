"""Arrays of an RDD are what they were: their axes, masks and numbers are kept, or they are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spools

from mxspark.data import row_problems
from mxspark.data.rows import ElementReader
from mxspark.data.spool import ColumnSpec
from mxspark.data.survey import Survey

LABEL = ColumnSpec("y", ("y",), None, "float32")
PICTURES = np.arange(4 * 3 * 2 * 5, dtype=np.float32).reshape(4, 3, 2, 5)


def picture(shape: Any) -> ColumnSpec:
    return ColumnSpec("x", ("x",), shape, "float32")


def spool(folder: Path, feature: ColumnSpec, *parts: Sequence[Any]) -> Survey:
    """Spool the elements of each partition."""
    blocks = [ElementReader([feature], [LABEL]).read(elements) for elements in parts]
    return spools.write(folder, blocks, [feature], [LABEL])


def problems(survey: Survey, feature: ColumnSpec) -> list[str]:
    return row_problems.problems(survey, [feature], [LABEL])


@pytest.mark.parametrize("other", [(2, 5, 3), (3, 5, 2), (3, 10), (30, 1), (6, 5), (1, 2, 3, 5)])
def test_an_array_in_another_shape_than_declared_is_refused(tmp_path: Path, other: tuple[int, ...]) -> None:
    spec = picture((3, 2, 5))
    (line,) = problems(spool(tmp_path, spec, [(row.reshape(other), 1.0) for row in PICTURES]), spec)
    assert (
        f"column x: 4 rows are of another shape (4 in partition 0; first at partition 0, row 0: shape {list(other)} "
        in line
    )
    assert "where [3, 2, 5] was expected); transpose or reshape them, or correct the declared shape" in line


@pytest.mark.parametrize(
    "make",
    [
        lambda row: row,
        lambda row: row.reshape(-1),
        lambda row: row.tolist(),
        lambda row: row.reshape(1, 3, 2, 5),  # axes of length 1 order nothing
        lambda row: row.reshape((3, 1, 2, 5) if row[0, 0, 0] else (3, 2, 5)),
    ],
)
def test_the_declared_shape_and_flat_rows_are_taken_in_order(tmp_path: Path, make: Any) -> None:
    spec = picture((3, 2, 5))
    survey = spool(tmp_path, spec, [(make(row), 1.0) for row in PICTURES])
    assert not survey.problems and survey.arrays[0].shape == (3, 2, 5)
    assert (spools.read(survey, "x")[0] == PICTURES).all()


def test_axes_that_are_not_declared_are_kept(tmp_path: Path) -> None:
    spec = picture(None)
    survey = spool(tmp_path, spec, [(row, 1.0) for row in PICTURES.transpose(0, 2, 3, 1)])
    assert survey.arrays[0].shape == (2, 5, 3)
    assert (spools.read(survey, "x")[0].transpose(0, 3, 1, 2) == PICTURES).all()


@pytest.mark.parametrize("shapes", [((2, 15), (15, 2)), ((2, 15), (30,)), ((30,), (2, 15))])
def test_mixed_shapes_are_refused_within_a_partition_and_between(tmp_path: Path, shapes: Any) -> None:
    spec, row = picture(None), np.arange(30.0)
    first, second = ((row.reshape(shape), 1.0) for shape in shapes)
    (line,) = problems(spool(tmp_path / "a", spec, [first, second]), spec)
    assert f"1 row is of another shape (1 in partition 0; first at partition 0, row 1: shape {list(shapes[1])}" in line
    (line,) = problems(spool(tmp_path / "b", spec, [first], [second]), spec)
    assert "column x: rows have different shapes" in line


@pytest.mark.parametrize(
    "masked",
    [
        np.ma.array([1.0, 2.0], mask=[False, True]),
        [np.ma.array([1.0], mask=[True]), np.ma.array([2.0])],
    ],
)
def test_masked_numbers_are_missing_ones(tmp_path: Path, masked: Any) -> None:
    spec = picture(None)
    (line,) = problems(spool(tmp_path, spec, [(masked, 1.0)]), spec)
    assert "column x: 1 row is null (1 in partition 0; first at partition 0, row 0: masked, or masked inside)" in line


def test_a_masked_row_and_a_masked_label_are_missing_too(tmp_path: Path) -> None:
    spec = picture((2,))
    flat = np.ma.array([1.0, 2.0, 3.0], mask=[False, False, True])
    (line,) = problems(spool(tmp_path / "flat", spec, [flat]), spec)
    assert "column y: 1 row is null" in line
    (line,) = problems(spool(tmp_path / "tuple", spec, [([1.0, 2.0], np.ma.masked)]), spec)
    assert "column y: 1 row is null" in line
    nothing = np.ma.array([1.0, 2.0, 3.0])
    assert not problems(spool(tmp_path / "nothing", spec, [nothing]), spec)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1.0, 2.0]), ([1, 2.5], [1.0, 2.5]), ([True, False], [1.0, 0.0]), ([np.float32(1.5), 2], [1.5, 2.0]),
        ([[1, 2], [3, 4]], [1.0, 2.0, 3.0, 4.0]),
        ([None, 1], "null inside"), (["a", 1], "str inside"), ([1j, 1], "complex inside"),
        ([2**70, 1], "int beyond 64 bits inside"),
    ],
)  # fmt: skip
def test_arrays_of_objects_are_their_numbers_or_named(tmp_path: Path, values: list[Any], expected: Any) -> None:
    spec = picture(None)
    survey = spool(tmp_path, spec, [(np.array(values, dtype=object), 1.0)])
    if isinstance(expected, str):
        assert [problem.first.detail for problem in survey.problems] == [expected]
    else:
        assert not survey.problems
        assert spools.read(survey, "x")[0].reshape(-1).tolist() == expected
