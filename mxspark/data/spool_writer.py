"""One partition to local disk: numpy blocks in, rows in a file and what is known of them out.

Runs in the Spark Python worker; knows neither pyspark nor Arrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxspark.data.cells import BadRows, Cells
from mxspark.data.convert import Target, is_beyond_a_double
from mxspark.data.row_layout import RowLayout
from mxspark.data.spool import ColumnSpec, Content, RowProblem, SpooledArray
from mxspark.data.spool_facts import PartFacts
from mxspark.data.spool_file import SpoolFile
from mxspark.errors import InternalError

try:
    from isal.isal_zlib import crc32  # the same numbers twenty times as fast: a third of what a spool costs here
except ImportError:  # a Python of the user's own without it
    from zlib import crc32

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 20  # of an array: so much is converted, checked and summed while it is in the processor's cache
_ROWS_BYTES = (
    16 << 20
)  # of all arrays: of hundreds of narrow ones a chunk is worth its calls only with thousands of rows


class Tally:
    """Counts bad rows of a partition by column and kind."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], RowProblem] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, column: str, kind: str, count: int, first_row: int, detail: str) -> None:
        """Count `count` more rows, the first of them at `first_row` of the partition."""
        seen = self._found.get((column, kind), RowProblem(column, kind, 0, first_row, detail))
        first = seen if seen.first_row <= first_row else RowProblem(column, kind, 0, first_row, detail)
        self._found[column, kind] = RowProblem(column, kind, seen.count + count, first.first_row, first.detail)

    def merge(self, other: Tally) -> None:
        """Take over the counts of another array; a column that both read counts once."""
        for key, problem in other._found.items():
            seen = self._found.get(key)
            if seen is None or seen.count < problem.count:
                self._found[key] = problem

    def problems(self) -> tuple[RowProblem, ...]:
        """Return what was found, in the order of the first bad rows."""
        return tuple(sorted(self._found.values(), key=lambda problem: problem.first_row))


@dataclass(frozen=True)
class _Block:
    """A batch of an array, shape (rows, width), and whether the types of its source columns have whole numbers only."""

    values: NDArray[Any]
    is_whole: NDArray[np.bool_]


class ArrayWriter:
    """One array of the partition: its numbers as they are spooled, their checksum and their extremes."""

    def __init__(self, spec: ColumnSpec, label: bool) -> None:
        self.spec = spec
        self.tally = Tally()
        self.checksum = 0
        self.shape = (len(spec.columns),) if spec.shape is None and len(spec.columns) > 1 else spec.shape
        self._target = Target(spec.spooled_dtype, spec.scale_of_spool, spec.classes, label, spec.is_weight)
        self._minimum = math.inf
        self._maximum = -math.inf
        self._content: Optional[Content] = None

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        return str(self._target.dtype)

    def block(self, cells: Sequence[Cells], rows: int) -> Optional[_Block]:
        """Take a batch, one `Cells` a source column; None where a row is bad."""
        if any(part.rows is not None for part in cells):
            return None
        if self.shape is None:
            self.shape = cells[0].values.shape[1:]
        values = cells[0].values.reshape(rows, -1) if len(cells) == 1 else _interleave(cells)
        return _Block(values, np.array([part.values.dtype.kind in "iu" for part in cells]))

    def write(self, block: _Block, rows: slice, into: NDArray[Any]) -> bool:
        """Put some rows where they belong; False where one is bad."""
        converted = self._target.convert(block.values[rows], block.is_whole)
        if converted is None:
            return False
        self._minimum = min(self._minimum, converted.minimum)
        self._maximum = max(self._maximum, converted.maximum)
        # kept as one: a partition may have any number of chunks
        self._content = Content.of_all([part for part in (self._content, converted.content) if part is not None])
        self.checksum = crc32(converted.values.reshape(-1).view(np.uint8).data, self.checksum)
        into[...] = converted.values.reshape(into.shape)
        return True

    def count(self, cells: Sequence[Cells], first_row: int) -> None:
        """Count the bad rows of a batch whose first row is `first_row` of the partition."""
        for column, part in zip(self.spec.columns, cells):
            for bad in part.bad:
                self._add(column, bad, first_row)
            rows = np.arange(len(part.values)) if part.rows is None else part.rows
            block = part.values.reshape(len(part.values), -1) if len(part.values) else part.values
            step = max(1, _CHUNK_BYTES * len(block) // max(1, block.nbytes))
            for start in range(0, len(block), step):
                for bad in self._target.bad_rows(block[start : start + step]):
                    self._add(column, replace(bad, rows=rows[start : start + step][bad.rows]), first_row)

    def describe(self) -> SpooledArray:
        """Return what is known of the rows so far."""
        found = self._minimum <= self._maximum
        scale = self.spec.scale_of_reader
        # a factor below 0 makes the largest the smallest
        extremes = sorted((self._minimum * scale, self._maximum * scale))
        return SpooledArray(
            name=self.spec.name,
            dtype=self.dtype,
            shape=(0,) if self.shape is None else tuple(self.shape),
            minimum=extremes[0] if found else None,
            maximum=extremes[1] if found else None,
            content=self._content,
            rounded=self._target.rounded,
            has_fractions=self._target.has_fractions,
            has_vanished=self._target.has_vanished,
            is_whole=self._is_whole,
            scale=scale,
        )

    @property
    def _is_whole(self) -> bool:
        if self._content is not None:
            return self._content.is_whole
        return self._target.is_whole and self.spec.scale_of_reader == 1.0

    def _add(self, column: str, bad: BadRows, first_row: int) -> None:
        self.tally.add(column, bad.kind, len(bad.rows), first_row + int(bad.rows[0]), bad.detail)


class PartitionWriter:
    """All arrays of one partition, row after row; memory is bounded by the batch, whatever the number of rows."""

    def __init__(self, file: SpoolFile, features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec]) -> None:
        self.rows = 0
        self._file = file
        self._elements = Tally()
        self._arrays = [ArrayWriter(spec, label=spec in labels) for spec in (*features, *labels)]
        self._layout: Optional[RowLayout] = None

    @property
    def first(self) -> int:
        """Place of the first row in the file, in rows."""
        return 0 if self._layout is None else self._file.start // self._layout.row_bytes

    def add(self, cells: Sequence[Sequence[Cells]], rows: int, bad: Sequence[BadRows] = ()) -> None:
        """Append a batch of `rows` rows.

        Parameters
        ----------
        cells : sequence of sequence of Cells
            For each array its source columns.
        rows : int
            Rows of the batch, bad ones included.
        bad : sequence of BadRows
            Rows that are unusable as a whole.
        """
        for part in bad:
            self._elements.add("", part.kind, len(part.rows), self.rows + int(part.rows[0]), part.detail)
        if rows:
            self._add(cells, rows)
        self.rows += rows

    def _add(self, cells: Sequence[Sequence[Cells]], rows: int) -> None:
        # after the first bad row nothing is trained on: only count, so that the user sees all of it at once
        refused = None if self.bad else self._write(cells, rows)
        if refused is None and not self.bad:
            return
        for array, parts in zip(self._arrays, cells):
            array.count(parts, self.rows)
        if refused is not None and not refused.tally:
            raise InternalError(f"array {refused.spec.name!r} was refused, but no row of it is bad")

    @property
    def bad(self) -> bool:
        """Whether a bad row was seen."""
        return bool(self._elements) or any(array.tally for array in self._arrays)

    def finish(self) -> PartFacts:
        """Say what was written; a partition with problems leaves nothing."""
        if not self.bad:
            arrays = tuple(array.describe() for array in self._arrays)
            return PartFacts(arrays, tuple(array.checksum for array in self._arrays))
        self._file.give_back()
        for array in self._arrays:
            self._elements.merge(array.tally)
        return PartFacts((), (), self._elements.problems())

    def _write(self, cells: Sequence[Sequence[Cells]], rows: int) -> Optional[ArrayWriter]:
        """Write a batch; the array that has a bad row is returned, and what was written is no promise then."""
        blocks = []
        for array, parts in zip(self._arrays, cells):
            block = array.block(parts, rows)
            if block is None:
                return array
            blocks.append(block)
        layout = self._begin() if self._layout is None else self._layout
        self._file.reserve(rows * layout.row_bytes)
        step = max(1, min(_CHUNK_BYTES // layout.widest_bytes, _ROWS_BYTES // layout.row_bytes))
        for start in range(0, rows, step):
            chunk = np.empty((min(step, rows - start), layout.row_bytes), dtype=np.uint8)
            for array, block in zip(self._arrays, blocks):
                if not array.write(block, slice(start, start + step), layout.view(chunk, array.spec.name)):
                    return array
            self._file.write(chunk.reshape(-1).data)
        return None

    def _begin(self) -> RowLayout:
        """Lay out a row, once the shapes of all arrays are known."""
        layout = RowLayout((array.spec.name, array.dtype, array.shape or ()) for array in self._arrays)
        self._file.begin(layout.row_bytes)
        self._layout = layout
        return layout


def _interleave(cells: Sequence[Cells]) -> NDArray[Any]:
    """Several scalar columns to one matrix, shape (rows, columns)."""
    columns = [part.values.reshape(-1) for part in cells]
    block = np.empty((len(columns[0]), len(columns)), dtype=_holding_all(columns))
    for index, values in enumerate(columns):
        block[:, index] = values
    return block


def _holding_all(columns: Sequence[NDArray[Any]]) -> np.dtype[Any]:
    """Return the type of a matrix that holds every number of its columns as it is."""
    dtype = np.result_type(*columns)
    # ids of 64 bits beside amounts: a double would make others of them
    is_lossy = dtype.kind == "f" and any(map(is_beyond_a_double, columns))
    return np.dtype(np.longdouble) if is_lossy else dtype
