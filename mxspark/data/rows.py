"""Rows as Spark hands them to Python, turned into numpy blocks: Arrow batches without a loop, RDD elements in batches.

Runs in the Spark Python worker; imports neither pyspark nor Spark's types, which are known by what they can do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from mxspark.data.cells import BadRows, Cells, expected_widths
from mxspark.data.element_cells import ABSENT, ABSENT_FIELD, number, stack
from mxspark.data.spool import ColumnSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_BATCH_ROWS = 4096
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class RowBlock:
    """Some rows in their order: for each array its source columns, and the rows unusable as a whole."""

    cells: tuple[tuple[Cells, ...], ...]
    rows: int
    bad: tuple[BadRows, ...] = ()


class ArrowReader:
    """Turns Arrow batches, one column for each source column, into numpy without touching single values."""

    def __init__(self, specs: Sequence[ColumnSpec], positions: Mapping[str, int]) -> None:
        self._places = [[positions[column] for column in spec.columns] for spec in specs]
        self._widths = expected_widths(specs)

    def read(self, batch: pa.RecordBatch) -> RowBlock:
        """Return the batch as numpy blocks, views of it where nothing has to be converted."""
        cells = []
        for places, widths in zip(self._places, self._widths):
            parts = []
            for index, place in enumerate(places):
                part = _arrow_cells(batch.column(place), widths[index])
                if widths[index] is None and len(part.values):
                    widths[index] = int(np.prod(part.values.shape[1:]))
                parts.append(part)
            cells.append(tuple(parts))
        return RowBlock(tuple(cells), batch.num_rows)


def _arrow_cells(array: pa.Array, width: Optional[int]) -> Cells:
    import pyarrow.types as types

    if types.is_list(array.type) or types.is_large_list(array.type) or types.is_fixed_size_list(array.type):
        return _list_cells(array, width)
    if not array.null_count:
        return Cells(_values(array))
    null = array.is_null().to_numpy(zero_copy_only=False)
    good = np.flatnonzero(~null)
    return Cells(_values(array.drop_null()), good, (BadRows("null", np.flatnonzero(null), "no value"),))


def _list_cells(array: pa.Array, width: Optional[int]) -> Cells:
    import pyarrow as pa

    offsets, child = _flat(array)
    lengths = np.diff(offsets)
    if not array.null_count and not child.null_count and len(lengths):
        expected = int(lengths[0]) if width is None else width
        if expected and (lengths == expected).all():
            return Cells(_values(child).reshape(len(lengths), expected))
    null = array.is_null().to_numpy(zero_copy_only=False)
    hole = _rows_with_holes(child, offsets) & ~null
    whole = ~(null | hole)
    if width is None:
        some = lengths[whole & (lengths > 0)]
        width = int(some[0]) if len(some) else 0
    good = whole & (lengths == width) & (lengths > 0)
    ragged = np.flatnonzero(whole & ~good)
    bad = [BadRows("null", np.flatnonzero(null), "no value"), BadRows("null", np.flatnonzero(hole), "null inside")]
    if len(ragged):
        bad.append(BadRows("ragged", ragged, _unexpected(int(lengths[ragged[0]]), width)))
    filled = child.fill_null(pa.scalar(0).cast(child.type))  # 0 itself is none of a boolean's values
    values = _values(filled)[np.repeat(good, lengths)].reshape(int(good.sum()), width)
    return Cells(values, np.flatnonzero(good), tuple(part for part in bad if len(part.rows)))


def _unexpected(length: int, width: Optional[int]) -> str:
    return f"length {length} where {width} was expected" if width else "empty"


def _flat(array: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return where each row starts, shape (rows + 1,) from 0 on, and the elements of exactly these rows."""
    import pyarrow.types as types

    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        offsets = np.arange(len(array) + 1, dtype=np.int64) * size
        return offsets, array.values.slice(array.offset * size, len(array) * size)
    starts = array.offsets.to_numpy(zero_copy_only=True).astype(np.int64)
    return starts - starts[0], array.values.slice(int(starts[0]), int(starts[-1] - starts[0]))


def _rows_with_holes(child: pa.Array, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.zeros(len(offsets) - 1, dtype=bool)
    if child.null_count:
        holes = np.flatnonzero(child.is_null().to_numpy(zero_copy_only=False))
        found[np.searchsorted(offsets, holes, side="right") - 1] = True
    return found


def _values(array: pa.Array) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_boolean(array.type):  # bits in Arrow, bytes in numpy
        array = array.cast(pa.uint8())
    result: NDArray[Any] = array.to_numpy(zero_copy_only=True)
    return result


class ElementReader:
    """Turns RDD elements into numpy: tuples and lists, Rows, namedtuples and dicts, labelled points, flat arrays."""

    def __init__(self, features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec]) -> None:
        specs = (*features, *labels)
        self._columns = [column for spec in specs for column in spec.columns]
        self._sizes = [len(spec.columns) for spec in specs]
        self._widths = [width for widths in expected_widths(specs) for width in widths]
        self._shapes = [
            shape for spec in specs for shape in ([spec.shape] if len(spec.columns) == 1 else [()] * len(spec.columns))
        ]
        self._is_declared = [shape is not None for shape in self._shapes]
        self._first_label = len(self._columns) - sum(len(spec.columns) for spec in labels)
        self._point = len(features) == len(labels) == 1 and len(self._columns) == 2
        self._cuts: list[Union[int, slice]] = []
        self._length = 0

    def read(self, elements: Iterable[Any]) -> Iterator[RowBlock]:
        """Yield batches of bounded rows and bytes."""
        cells: list[list[Any]] = [[] for _ in self._columns]
        bad: dict[tuple[str, str], list[int]] = {}
        rows = 0
        held = 0
        for element in elements:
            found = self._split(element)
            if isinstance(found, tuple):
                bad.setdefault(found, []).append(rows)
                found = [ABSENT] * len(self._columns)
            for column, cell in zip(cells, found):
                found_cell = number(cell)
                held += found_cell.nbytes if isinstance(found_cell, np.ndarray) else 0
                column.append(found_cell)
            rows += 1
            if rows >= _BATCH_ROWS or held >= _BATCH_BYTES:
                yield self._batch(cells, rows, bad)
                cells = [[] for _ in self._columns]
                bad = {}
                rows = 0
                held = 0
        if rows:
            yield self._batch(cells, rows, bad)

    def _batch(self, cells: list[list[Any]], rows: int, bad: Mapping[tuple[str, str], list[int]]) -> RowBlock:
        parts = iter([self._column(index, column) for index, column in enumerate(cells)])
        arrays = tuple(tuple(itertools.islice(parts, size)) for size in self._sizes)
        return RowBlock(arrays, rows, tuple(BadRows(kind, np.array(at), detail) for (kind, detail), at in bad.items()))

    def _column(self, index: int, cells: list[Any]) -> Cells:
        """Stack the cells of one column, bad ones aside."""
        good: list[int] = []
        bad: dict[tuple[str, str], list[int]] = {}
        for row, cell in enumerate(cells):
            if isinstance(cell, np.ndarray):
                cell = self._trouble(index, cell)
            if cell is None:
                good.append(row)
            elif cell is not ABSENT:
                bad.setdefault(cell, []).append(row)
        values = stack([cells[row] for row in good], self._widths[index] or 0)
        problems = tuple(BadRows(kind, np.array(rows), detail) for (kind, detail), rows in bad.items())
        return Cells(values, None if len(good) == len(cells) else np.array(good, dtype=np.int64), problems)

    def _trouble(self, index: int, cell: NDArray[Any]) -> Optional[tuple[str, str]]:
        """Return why a cell has not the shape of its column, None if it has; the first one decides an open shape.

        A flat cell has the order of the declared shape. One with axes of its own has another order if they are others:
        (height, width, channels) read as (channels, height, width) is another picture. Axes of length 1 order nothing.
        """
        if self._widths[index] is None and cell.size:
            self._widths[index] = cell.size
            self._shapes[index] = cell.shape
        if not cell.size or cell.size != self._widths[index]:
            return "ragged", _unexpected(cell.size, self._widths[index])
        shape = self._shapes[index] or ()
        may_be_flat = self._is_declared[index] or len(shape) < 2
        if cell.size == 1 or cell.shape == shape or (cell.ndim < 2 and may_be_flat):
            return None
        if self._is_declared[index] and _long_axes(cell.shape) == _long_axes(shape):
            return None
        return "shape", f"shape {list(cell.shape)} where {list(shape)} was expected"

    def _split(self, element: Any) -> Union[Sequence[Any], tuple[str, str]]:
        """Return a list with the cell of each source column, or the kind and detail of a problem as tuple."""
        if isinstance(element, np.ndarray):
            return self._cut(element)
        # of a Row and of a namedtuple; by place fields in another order than the columns would be swapped
        names = getattr(element, "__fields__", None) or getattr(element, "_fields", None)
        if names is not None:
            element = dict(zip(names, element))
        if isinstance(element, Mapping):
            return [element.get(column, ABSENT_FIELD) for column in self._columns]
        if type(element).__name__ == "LabeledPoint":
            if not self._point:
                return "type", "LabeledPoint, which is one feature and one label, but other columns are declared"
            return [element.features, element.label]
        if not isinstance(element, (tuple, list)):
            return "type", f"{type(element).__name__}; give tuples, Rows, dicts, LabeledPoints or 1-D numpy arrays"
        if len(element) != len(self._columns):
            return "ragged", f"{len(element)} entries where {len(self._columns)} columns are declared"
        return list(element)

    def _cut(self, element: NDArray[Any]) -> Union[Sequence[Any], tuple[str, str]]:
        if element.ndim != 1:
            return "type", f"numpy array with {element.ndim} axes; flatten each row, or give tuples"
        if not self._cuts and not self._plan_cuts(element.size):
            return "type", "numpy array, of which several parts have no declared length; declare their 'shape'"
        if element.size != self._length:
            return "ragged", f"length {element.size} where {self._length} was expected"
        return [element[cut] for cut in self._cuts]

    def _plan_cuts(self, length: int) -> bool:
        """Lay the columns over a flat element; one feature of open width takes what the others leave."""
        widths = [1 if w is None and i >= self._first_label else w for i, w in enumerate(self._widths)]
        if widths.count(None) > 1:
            return False
        known = sum(width for width in widths if width is not None)
        self._length = max(length, known) if None in widths else known
        start = 0
        for index, width in enumerate(widths):
            stop = start + (self._length - known if width is None else width)
            scalar = index >= self._first_label and self._widths[index] is None
            self._cuts.append(start if scalar else slice(start, stop))
            start = stop
        return True


def _long_axes(shape: tuple[int, ...]) -> list[int]:
    return [length for length in shape if length != 1]
