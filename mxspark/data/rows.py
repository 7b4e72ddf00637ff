"""Rows as Spark hands them to Python, turned into numpy blocks: Arrow batches without a loop, RDD elements in batches.

Runs in the Spark Python worker; imports neither pyspark nor Spark's types, which are known by what they can do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from mxspark.data.cells import BadRows, Cells, expected_widths
from mxspark.data.spool import ColumnSpec

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_BATCH_ROWS = 4096
_BATCH_BYTES = 16 << 20
_ABSENT = object()


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
    values = _values(child.fill_null(0))[np.repeat(good, lengths)].reshape(int(good.sum()), width)
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
    """Turns RDD elements into numpy: tuples and lists, Rows and dicts, labelled points, flat arrays."""

    def __init__(self, features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec]) -> None:
        specs = (*features, *labels)
        self._columns = [column for spec in specs for column in spec.columns]
        self._sizes = [len(spec.columns) for spec in specs]
        self._widths = [width for widths in expected_widths(specs) for width in widths]
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
                found = [_ABSENT] * len(self._columns)
            for column, cell in zip(cells, found):
                number = _number(cell)
                held += number.nbytes if isinstance(number, np.ndarray) else 0
                column.append(number)
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
        """Stack the cells of one column, bad ones aside; the first good one decides an open width."""
        good: list[int] = []
        bad: dict[tuple[str, str], list[int]] = {}
        for row, cell in enumerate(cells):
            if isinstance(cell, np.ndarray):
                if self._widths[index] is None and cell.size:
                    self._widths[index] = cell.size
                if cell.size and cell.size == self._widths[index]:
                    good.append(row)
                    continue
                cell = ("ragged", _unexpected(cell.size, self._widths[index]))
            if cell is not _ABSENT:
                bad.setdefault(cell, []).append(row)
        values = _stack([cells[row] for row in good], self._widths[index] or 0)
        problems = tuple(BadRows(kind, np.array(rows), detail) for (kind, detail), rows in bad.items())
        return Cells(values, None if len(good) == len(cells) else np.array(good, dtype=np.int64), problems)

    def _split(self, element: Any) -> Union[Sequence[Any], tuple[str, str]]:
        """Return a list with the cell of each source column, or the kind and detail of a problem as tuple."""
        if isinstance(element, np.ndarray):
            return self._cut(element)
        if hasattr(element, "__fields__"):
            element = dict(zip(element.__fields__, element))
        if isinstance(element, Mapping):
            return [element.get(column, _ABSENT_FIELD) for column in self._columns]
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


_NUMBERS = (int, float, np.number, np.bool_)
_ABSENT_FIELD = ("type", "no field of that name")


def _number(cell: Any) -> Any:
    """Return the cell as numeric array, or the kind and detail of its problem as tuple."""
    if cell is _ABSENT or cell is _ABSENT_FIELD:
        return cell
    if cell is None:
        return "null", "no value"
    to_array: Optional[Callable[[], Any]] = getattr(cell, "toArray", None)
    try:
        array = np.asarray(cell if to_array is None else to_array())
    except (ValueError, np.VisibleDeprecationWarning):  # lists of lists of unequal lengths
        return "ragged", "nested lists of unequal lengths"
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind in "iuf":
        return array
    return _odd(cell, array)


def _odd(cell: Any, array: NDArray[Any]) -> tuple[str, str]:
    if array.dtype.kind == "O" and array.ndim and any(part is None for part in array.reshape(-1)):
        return "null", "null inside"
    if isinstance(cell, int):
        return "type", "int beyond 64 bits"
    if array.ndim == 0 or (isinstance(cell, np.ndarray) and array.dtype.kind != "O"):
        return "type", f"numpy {array.dtype}" if isinstance(cell, np.ndarray) else type(cell).__name__
    odd = [part for part in (cell if array.dtype.kind != "O" else array.reshape(-1)) if not isinstance(part, _NUMBERS)]
    if odd and isinstance(odd[0], (list, np.ndarray)):
        return "ragged", "nested lists of unequal lengths"
    return "type", f"{type(odd[0]).__name__} inside" if odd else "int beyond 64 bits inside"


def _stack(cells: list[NDArray[Any]], width: int) -> NDArray[Any]:
    """Return shape (rows,) where the first cell is a scalar, else (rows, width)."""
    if not cells:
        return np.empty((0, width), dtype=np.float64)
    flat: NDArray[Any] = np.stack([cell.reshape(-1) for cell in cells])
    return flat.reshape(-1) if cells[0].ndim == 0 else flat
