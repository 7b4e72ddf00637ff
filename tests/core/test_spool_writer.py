"""Arrow batches and RDD elements to a file of rows, without Spark."""

from __future__ import annotations

import zlib
from collections import namedtuple
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import pyarrow as pa
import pytest
import spools
from hypothesis import given, settings
from hypothesis import strategies as st

from mxspark.data import row_problems
from mxspark.data.row_layout import RowLayout
from mxspark.data.rows import ArrowReader, ElementReader, RowBlock
from mxspark.data.spool import ColumnSpec, RowProblem, remove_run_folder, run_folder
from mxspark.data.spool_facts import PartFacts
from mxspark.data.spool_file import SpoolFile
from mxspark.data.spool_writer import PartitionWriter


def spec(**changes: Any) -> ColumnSpec:
    """Return an array ``x`` of column ``x``."""
    return ColumnSpec(**{"name": "x", "columns": ("x",), "shape": None, "dtype": "float32", **changes})


def write(folder: Path, blocks: Iterable[RowBlock], *specs: Sequence[ColumnSpec]) -> PartFacts:
    """Write blocks of rows to the file that :func:`content` reads."""
    folder.mkdir(exist_ok=True)
    with SpoolFile(folder) as file:
        writer = PartitionWriter(file, *specs)
        for block in blocks:
            writer.add(block.cells, block.rows, block.bad)
        return writer.finish()


def write_arrow(
    folder: Path, arrays: Sequence[pa.Array], features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec] = ()
) -> PartFacts:
    """Write batches of one column ``x``."""
    reader = ArrowReader((*features, *labels), {"x": 0})
    return write(folder, [reader.read(pa.record_batch([array], names=["c0"])) for array in arrays], features, labels)


def write_elements(
    folder: Path, elements: Sequence[Any], features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec] = ()
) -> PartFacts:
    """Write RDD elements."""
    return write(folder, ElementReader(features, labels).read(elements), features, labels)


def content(folder: Path, facts: PartFacts, place: int = 0) -> np.ndarray[Any, Any]:
    """Read an array back and hold it against what is said of it."""
    layout, said = RowLayout.of(facts.arrays), facts.arrays[place]
    rows = np.fromfile(folder / "000.rows", dtype=np.uint8).reshape(-1, layout.row_bytes)
    array = np.ascontiguousarray(layout.view(rows, said.name))
    assert zlib.crc32(array.tobytes()) == facts.checksums[place]
    if array.size:
        assert (array.min(), array.max()) == (said.minimum, said.maximum)
    return array


@pytest.mark.parametrize(
    ("array", "changes", "is_whole"),
    [
        (pa.array([1, 2], pa.int64()), {}, True),
        (pa.array([True, False]), {}, True),
        (pa.array([1.0, 2.0]), {"dtype": "int32"}, True),
        (pa.array([1.0, 2.0]), {}, False),
        (pa.array([1, 2], pa.int64()), {"scale": 0.5}, False),
    ],
)
def test_whole_numbers_are_known_where_types_tell(
    tmp_path: Path, array: pa.Array, changes: dict[str, Any], is_whole: bool
) -> None:
    assert write_arrow(tmp_path, [array], [spec(**changes)]).arrays[0].is_whole == is_whole


def test_whole_numbers_of_a_label_are_known_from_its_rows(tmp_path: Path) -> None:
    for kind, values, is_whole in (("whole", [1.0, 2.0], True), ("not", [1.0, 2.5], False)):
        assert write_arrow(tmp_path / kind, [pa.array(values)], [], [spec()]).arrays[0].is_whole == is_whole


VALUES = np.arange(24, dtype=np.float64).reshape(6, 4)
LISTS = pa.array(VALUES.tolist(), pa.list_(pa.float64()))


@pytest.mark.parametrize(
    "array",
    [
        LISTS,
        LISTS.cast(pa.list_(pa.float32())),
        LISTS.cast(pa.list_(pa.int8())),
        LISTS.cast(pa.large_list(pa.float32())),
        LISTS.cast(pa.list_(pa.float32(), 4)),
        pa.concat_arrays([pa.array([[9.0] * 4, None], LISTS.type), LISTS, LISTS])[2:8],
        pa.concat_arrays([LISTS, LISTS]).cast(pa.list_(pa.float64(), 4))[6:],
    ],
    ids=["double", "float", "byte", "large", "fixed", "slice", "fixed slice"],
)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_every_kind_of_list_arrives_in_order(tmp_path: Path, array: pa.Array, scale: float) -> None:
    facts = write_arrow(tmp_path, [array[:2], array[2:2], array[2:]], [spec(scale=scale)])
    assert facts.problems == ()
    assert facts.arrays[0].shape == (4,)
    np.testing.assert_array_equal(content(tmp_path, facts), (VALUES * scale).astype(np.float32))


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (pa.array([True, False, True]), "uint8"),
        (pa.array([1, -2, 3], pa.int8()), "int32"),
        (pa.array([2**53 + 1, -(2**60), 5], pa.int64()), "int64"),
        (pa.array([1.5, -2.5, 0.0], pa.float64()), "float16"),
        (pa.array([3.0, -0.0, 7.0], pa.float64()), "int64"),
    ],
)
def test_scalars_keep_their_value(tmp_path: Path, array: pa.Array, dtype: str) -> None:
    facts = write_arrow(tmp_path, [array], [spec(dtype=dtype)])
    assert facts.problems == ()
    assert facts.arrays[0].shape == ()
    assert content(tmp_path, facts).tolist() == [float(v) if "float" in dtype else int(v) for v in array.to_pylist()]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int16(), pa.float64()])
def test_a_scaled_number_is_rounded_to_float16_once(tmp_path: Path, kind: pa.DataType) -> None:
    values = np.arange(100)
    facts = write_arrow(tmp_path, [pa.array(values.tolist(), kind)], [spec(dtype="float16", scale=0.3)])
    assert content(tmp_path, facts).tolist() == (values * 0.3).astype(np.float16).tolist()


def one(facts: PartFacts) -> RowProblem:
    """Return the only problem."""
    (problem,) = facts.problems
    assert facts.arrays == facts.checksums == ()
    return problem


F64, F32, I64 = pa.float64(), pa.float32(), pa.int64()
HALVED = " once multiplied by scale 0.5"


@pytest.mark.parametrize(
    ("rows", "kind", "target", "label", "expected"),
    [
        ([1.0, None, 2.0, None], F64, {}, False, ("null", 2, 1, "no value")),
        ([[1.0], None, [2.0]], pa.list_(F64), {}, False, ("null", 1, 1, "no value")),
        ([[1.0, 2.0], [None, None], [2.0, None]], pa.list_(F64), {}, False, ("null", 2, 1, "null inside")),
        ([[True], [None], [False]], pa.list_(pa.bool_()), {}, False, ("null", 1, 1, "null inside")),
        ([[1.0, 2.0], [3.0], [4.0] * 3], pa.list_(F64), {}, False, ("ragged", 2, 1, "length 1 where 2 was expected")),
        ([[True], [True, False]], pa.list_(pa.bool_()), {}, False, ("ragged", 1, 1, "length 2 where 1 was expected")),
        ([[1.0] * 3], pa.list_(F64), {"shape": (2, 2)}, False, ("ragged", 1, 0, "length 3 where 4 was expected")),
        ([[], []], pa.list_(F64), {}, False, ("ragged", 2, 0, "empty")),
        ([1.0, float("nan")], F64, {}, False, ("not finite", 1, 1, "NaN")),
        ([[1.0, 2.0], [float("-inf"), float("nan")]], pa.list_(F32), {}, False, ("not finite", 1, 1, "NaN")),
        ([1.0, float("inf")], F32, {}, False, ("not finite", 1, 1, "infinite")),
        ([1e39, 1.0], F64, {}, False, ("not finite", 1, 0, "too large for float32")),
        ([65536.0], F64, {"dtype": "float16"}, False, ("not finite", 1, 0, "too large for float16")),
        ([2.0], F64, {"scale": 1e308, "dtype": "float64"}, False, ("not finite", 1, 0, "infinite")),
        ([0.0, float("nan")], F64, {"dtype": "int32"}, True, ("not finite", 1, 1, "NaN")),
        ([0, 1, 2, 9], I64, {"classes": 2, "dtype": "int32"}, True, ("label", 2, 2, "outside [0, 2)")),
        ([0, -1], I64, {"classes": 2, "dtype": "int32"}, True, ("label", 1, 1, "outside [0, 2)")),
        ([0.0, 1.5], F64, {"dtype": "int32"}, True, ("label", 1, 1, "not a whole number")),
        ([0.0, 0.5], F64, {"classes": 2}, True, ("label", 1, 1, "not a whole number")),
        ([2**31], I64, {"dtype": "int32"}, True, ("label", 1, 0, "outside the range of int32")),
        ([2.0**63], F64, {"dtype": "int64"}, True, ("label", 1, 0, "outside the range of int64")),
        ([-1], I64, {"dtype": "uint8"}, False, ("type", 1, 0, "outside the range of uint8")),
        ([2, 1], I64, {"dtype": "int32", "scale": 0.5}, False, ("type", 1, 1, f"not a whole number{HALVED}")),
        ([2**40], I64, {"dtype": "int32", "scale": 0.5}, False, ("type", 1, 0, f"outside the range of int32{HALVED}")),
        # what is scaled when it is read must be bytes before
        ([1, 255, 256], I64, {"scale": 0.5, "held": "uint8"}, False, ("type", 1, 2, "outside the range of uint8")),
        ([1.0, 0.5], F64, {"scale": 2.0, "held": "uint8"}, False, ("type", 1, 1, "not a whole number")),
    ],
)
def test_bad_rows_are_counted_with_the_first_and_no_value(
    tmp_path: Path, rows: list[Any], kind: pa.DataType, target: dict[str, Any], label: bool, expected: tuple[Any, ...]
) -> None:
    specs = [spec(**target)]
    found = one(write_arrow(tmp_path, [pa.array(rows, kind)], *(([], specs) if label else (specs,))))
    assert found == RowProblem("x", *expected)
    assert not (tmp_path / "000.rows").stat().st_size, "the rows of a partition with problems are removed"


#: What Spark's numbers and booleans are in Arrow; as arrays in each of Arrow's kinds of lists.
ELEMENTS = [pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]
Row = Union[None, int, list[Optional[int]]]


def scalars() -> st.SearchStrategy[list[Row]]:
    return st.lists(st.one_of(st.none(), st.integers(0, 1)), max_size=12)


def arrays_of(width: int) -> st.SearchStrategy[list[Row]]:
    """Rows that are good, null, with a null inside, of another length, or empty."""
    good = st.lists(st.integers(0, 1), min_size=width, max_size=width)
    hole = st.lists(st.one_of(st.none(), st.integers(0, 1)), min_size=width, max_size=width)
    ragged = st.lists(st.one_of(st.none(), st.integers(0, 1)), max_size=5)
    return st.lists(st.one_of(good, st.none(), hole, ragged), max_size=12)


def expected(rows: Sequence[Row], width: Optional[int]) -> dict[str, tuple[int, int]]:
    """Say of each kind of problem how many rows have it, and which is the first."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row is None or (isinstance(row, list) and None in row):
            found.setdefault("null", []).append(place)
        elif isinstance(row, list):
            width = width or len(row)
            if len(row) != width or not row:
                found.setdefault("ragged", []).append(place)
    return {kind: (len(places), places[0]) for kind, places in found.items()}


def in_arrow(rows: Sequence[Row], element: pa.DataType, kind: str, behind_nulls: int) -> pa.Array:
    """Return rows as Arrow holds them; a null row may have values that lie behind it."""
    if kind == "scalar":
        return pa.array(rows, pa.int8()).cast(element)
    lists = [[1] * behind_nulls if row is None else row for row in rows]
    is_null = pa.array([row is None for row in rows], pa.bool_())
    flat = pa.array([value for row in lists for value in row], pa.int8()).cast(element)
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, len(lists[0]), mask=is_null)
    offsets = np.cumsum([0, *map(len, lists)])
    make = pa.LargeListArray if kind == "large" else pa.ListArray
    return make.from_arrays(pa.array(offsets, pa.int64() if kind == "large" else pa.int32()), flat, mask=is_null)


@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("kind", ["scalar", "list", "large", "fixed"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_bad_rows_of_every_type_have_the_same_counts(
    tmp_path_factory: pytest.TempPathFactory, element: pa.DataType, kind: str, data: st.DataObject
) -> None:
    """Of booleans, which have no 0 to fill a null with, a null was once an error of the program."""
    width = data.draw(st.integers(1, 4))
    rows = data.draw(scalars() if kind == "scalar" else arrays_of(width))
    if kind == "fixed":  # all rows have a length, null ones too
        rows = [row if row is None or len(row) == width else [1] * width for row in rows]
    declared = data.draw(st.booleans()) and kind != "scalar"
    behind = width if kind == "fixed" else data.draw(st.integers(0, 3))
    # what lies before the first and after the last row is of another batch
    others = [[1] * width] if kind != "scalar" else [1]
    array = in_arrow([*others, *rows, *others], element, kind, behind)[1:-1]
    cut = data.draw(st.integers(0, len(rows)))
    folder = tmp_path_factory.mktemp("p")
    target = spec(shape=(width,) if declared else None)
    problems = write_arrow(folder, [array[:cut], array[cut:]], [target]).problems
    found = {problem.kind: (problem.count, problem.first_row) for problem in problems}
    assert {problem.column for problem in problems} <= {"x"} and len(found) == len({p.kind for p in problems})
    assert found == expected(rows, width if declared else None)


def test_counting_goes_on_after_the_first_problem(tmp_path: Path) -> None:
    good = pa.array([[1.0, 2.0]] * 3, pa.list_(F64))
    bad = pa.array([[1.0, 2.0], None, [1.0], [float("nan"), 1.0], [None, 1.0]], pa.list_(F64))
    facts = write_arrow(tmp_path, [good, bad, good, bad], [spec()])
    found = [(problem.kind, problem.count, problem.first_row) for problem in facts.problems]
    assert found == [("null", 4, 4), ("ragged", 2, 5), ("not finite", 2, 6)]


def test_a_column_read_by_two_arrays_counts_once(tmp_path: Path) -> None:
    rows = pa.array([1.0, 1e39, float("nan")])
    found = one(write_arrow(tmp_path, [rows], [spec(), spec(name="wider", dtype="float64")]))
    assert found == RowProblem("x", "not finite", 2, 1, "too large for float32")


def test_bad_rows_of_a_slice_are_found_where_they_are(tmp_path: Path) -> None:
    rows = pa.array([[9.0, 9.0], [1.0, 2.0], [None, 1.0], [3.0, 4.0]], pa.list_(F64))
    assert one(write_arrow(tmp_path, [rows[1:]], [spec()])) == RowProblem("x", "null", 1, 1, "null inside")


def test_several_scalars_become_one_vector_and_name_the_bad_one(tmp_path: Path) -> None:
    pair = spec(columns=("a", "b"), scale=2.0)
    reader = ArrowReader([pair], {"a": 0, "b": 1})
    for name, second in (("good", [3.0, 4.0]), ("bad", [3.0, None])):
        batch = reader.read(pa.record_batch([pa.array([1, 2], pa.int32()), pa.array(second, F64)], names=["c0", "c1"]))
        facts = write(tmp_path / name, [batch], [pair], [])
        if name == "good":
            assert content(tmp_path / name, facts).tolist() == [[2.0, 6.0], [4.0, 8.0]]
        else:
            assert facts.problems == (RowProblem("b", "null", 1, 1, "no value"),)


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    source=st.sampled_from(["f4", "f8", "i2"]),
    width=st.integers(1, 300),
)
def test_checksums_do_not_depend_on_batches(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], source: str, width: int
) -> None:
    values = (np.arange(3000 * width) * 7919 % 1000).astype(source).reshape(3000, width)
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), width)
    edges = [0, *sorted(cuts), 3000]
    batches = [array[start:stop] for start, stop in zip(edges, edges[1:])]
    facts = write_arrow(tmp_path_factory.mktemp("p"), batches, [spec()])
    assert facts.checksums[0] == zlib.crc32(values.astype(np.float32).tobytes())


def test_rows_that_change_places_change_the_checksum(tmp_path: Path) -> None:
    sums = set()
    for name, rows in (("a", VALUES), ("b", VALUES[::-1])):
        facts = write_arrow(tmp_path / name, [pa.array(rows.tolist(), LISTS.type)], [spec()])
        sums.add(facts.checksums[0])
    assert len(sums) == 2


ONES = ColumnSpec("x", ("x",), None, "float32")
LABEL = ColumnSpec("y", ("y",), None, "int32", classes=3)
Named = namedtuple("Named", "y z")


@pytest.mark.parametrize(
    ("element", "column", "expected"),
    [
        (("abc", 1), "x", ("type", "str")),
        (([1.0, "2"], 1), "x", ("type", "str inside")),
        ((Decimal("1.5"), 1), "x", ("type", "Decimal; give float(x)")),
        (([Fraction(1, 2), 1.0], 1), "x", ("type", "Fraction inside; give float(x)")),
        ((None, 1), "x", ("null", "no value")),
        (([1.0, None], 1), "x", ("null", "null inside")),
        (([1.0], 1), "x", ("ragged", "length 1 where 2 was expected")),
        (([[1.0], [2.0, 3.0]], 1), "x", ("ragged", "nested lists of unequal lengths")),
        (([1.0, float("nan")], 1), "x", ("not finite", "NaN")),
        (([1.0, 2.0], 3), "y", ("label", "outside [0, 3)")),
        (([1.0, 2.0], 2**70), "y", ("type", "int beyond 64 bits")),
        (([1.0, 2.0], 1.5), "y", ("label", "not a whole number")),
        ({"x": [1.0, 2.0]}, "y", ("type", "no field of that name")),
        (Named(1, 2), "x", ("type", "no field of that name")),
        (([1.0, 2.0],), "", ("ragged", "1 entries where 2 columns are declared")),
        (7, "", ("type", "int; give tuples, Rows, dicts, LabeledPoints or 1-D numpy arrays")),
        (np.zeros((2, 2)), "", ("type", "numpy array with 2 axes; flatten each row, or give tuples")),
        (np.zeros(4), "", ("ragged", "length 4 where 3 was expected")),
    ],
)
def test_odd_elements_are_named(tmp_path: Path, element: Any, column: str, expected: tuple[str, str]) -> None:
    good = np.array([1.0, 2.0, 1.0])
    kind, detail = expected
    found = one(write_elements(tmp_path, [good, ([1.0, 2.0], 1), element, element], [ONES], [LABEL]))
    assert found == RowProblem(column, kind, 2, 2, detail)


def test_namedtuples_go_by_name(tmp_path: Path) -> None:
    turned = namedtuple("turned", "y more x")
    facts = write_elements(tmp_path, [turned(2, None, [5.0, 6.0]), ([7.0, 8.0], 1)], [ONES], [LABEL])
    assert facts.problems == () and [(array.minimum, array.maximum) for array in facts.arrays] == [(5, 8), (1, 2)]


def test_elements_of_another_length_are_told_in_words_of_an_rdd(tmp_path: Path) -> None:
    elements = [([1.0, 2.0], 1), ([1.0, 2.0], 1, 7)]
    survey = spools.write(tmp_path, [ElementReader([ONES], [LABEL]).read(elements)], [ONES], [LABEL])
    (line,) = row_problems.problems(survey, [ONES], [LABEL])
    assert "RDD elements: 1 row is of another length" in line and "F.slice" not in line
    assert line.endswith(
        "row 1: 3 entries where 2 columns are declared); give every element an entry for each column in the declared "
        "order, features, labels, weight, or drop those: rdd.filter(lambda row: len(row) == n); Rows, namedtuples and "
        "dicts go by name and may have more"
    )


@pytest.mark.parametrize("rows", [0, 1, 4096, 4097])
def test_elements_are_written_in_order(tmp_path: Path, rows: int) -> None:
    elements = [([index, index + 0.5], index % 3) for index in range(rows)]
    facts = write_elements(tmp_path, elements, [ONES], [LABEL])
    assert facts.problems == ()
    if not rows:
        assert [(array.shape, array.minimum) for array in facts.arrays] == [((0,), None)] * 2
        assert facts.checksums == (0, 0)
        return
    assert content(tmp_path, facts, 1).tolist() == [index % 3 for index in range(rows)]
    assert content(tmp_path, facts)[:, 0].tolist() == list(range(rows))


def test_large_elements_are_not_held_back(tmp_path: Path) -> None:
    row = np.zeros(1 << 20)
    batches = ElementReader([ONES], [LABEL]).read((row, 1) for _ in range(6))
    assert [batch.rows for batch in batches] == [2, 2, 2]


def test_only_the_folder_of_the_run_is_removed(tmp_path: Path) -> None:
    mine, other = (tmp_path / name / "training" / "000.rows" for name in ("mxspark-r1", "mxspark-r12"))
    for file in (mine, other):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"1")
    assert run_folder(str(mine), "r1") == tmp_path / "mxspark-r1"
    for path in (str(other), str(tmp_path), "mxspark-r1/training/p", "/", f"{tmp_path}/a/../mxspark-r1/training/p"):
        with pytest.raises(ValueError, match="is not a spool of run 'r1'"):
            remove_run_folder(path, "r1")
    with pytest.raises(ValueError, match="cannot be part of a folder's name"):
        run_folder(str(mine), "../r1")
    remove_run_folder(str(mine), "r1")
    remove_run_folder(str(mine), "r1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mxspark-r12"]
