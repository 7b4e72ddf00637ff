"""One partition to local disk: numpy blocks in, one plain file an array and the reasons against it out.

Runs in the Spark Python worker; knows neither pyspark nor Arrow.
"""

from __future__ import annotations

import math
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Optional

import numpy as np

from mxspark.data.cells import BadRows, Cells
from mxspark.data.convert import Target, is_beyond_a_double
from mxspark.data.spool import ColumnSpec, Content, RowProblem, SpoolFile, file_of
from mxspark.errors import ClusterError, InternalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 20  # a chunk is converted, checked, summed and written while it is in the processor's cache


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


class ArrayWriter:
    """One array of the partition: a file, its checksum and its extremes."""

    def __init__(self, folder: Path, spec: ColumnSpec, label: bool) -> None:
        self.spec = spec
        self.tally = Tally()
        self._target = Target(spec.dtype, spec.scale, spec.classes, label, spec.is_weight)
        self._shape = (len(spec.columns),) if spec.shape is None and len(spec.columns) > 1 else spec.shape
        self._crc = 0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._content: Optional[Content] = None
        with _disk(folder):
            self._file: BinaryIO = open(file_of(folder, spec.name), "xb", opener=_private)  # noqa: SIM115

    def write(self, cells: Sequence[Cells], rows: int) -> bool:
        """Append a batch, one `Cells` a source column; False, and no promise on the file, where a row is bad."""
        if any(part.rows is not None for part in cells):
            return False
        if self._shape is None:
            self._shape = cells[0].values.shape[1:]
        block = cells[0].values.reshape(rows, -1) if len(cells) == 1 else _interleave(cells)
        is_whole = np.array([part.values.dtype.kind in "iu" for part in cells])
        row_bytes = max(1, block.shape[1]) * self._target.dtype.itemsize
        self._reserve(rows * row_bytes)
        step = max(1, _CHUNK_BYTES // row_bytes)
        return all(self._write_chunk(block[start : start + step], is_whole) for start in range(0, rows, step))

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

    def finish(self) -> SpoolFile:
        """Close the file and describe it."""
        with _disk(Path(self._file.name)):
            self._file.close()
        found = self._minimum <= self._maximum
        return SpoolFile(
            name=self.spec.name,
            dtype=str(self._target.dtype),
            shape=(0,) if self._shape is None else tuple(self._shape),
            crc32=self._crc,
            minimum=self._minimum if found else None,
            maximum=self._maximum if found else None,
            content=self._content,
            rounded=self._target.rounded,
            has_fractions=self._target.has_fractions,
            has_vanished=self._target.has_vanished,
            is_whole=self._target.is_whole if self._content is None else self._content.is_whole,
        )

    def close(self) -> None:
        """Let go of the file whatever state it is in."""
        self._file.close()

    def _reserve(self, size: int) -> None:
        """Have the disk allocate the next bytes at once: writing them then takes a third less processor time."""
        with _disk(Path(self._file.name)):
            if size:
                os.posix_fallocate(self._file.fileno(), self._file.tell(), size)

    def _write_chunk(self, block: NDArray[Any], is_whole: NDArray[np.bool_]) -> bool:
        converted = self._target.convert(block, is_whole)
        if converted is None:
            return False
        self._minimum = min(self._minimum, converted.minimum)
        self._maximum = max(self._maximum, converted.maximum)
        # kept as one: a partition may have any number of chunks
        self._content = Content.of_all([part for part in (self._content, converted.content) if part is not None])
        data = converted.values.reshape(-1).view(np.uint8).data
        self._crc = zlib.crc32(data, self._crc)
        with _disk(Path(self._file.name)):
            self._file.write(data)
        return True

    def _add(self, column: str, bad: BadRows, first_row: int) -> None:
        self.tally.add(column, bad.kind, len(bad.rows), first_row + int(bad.rows[0]), bad.detail)


class PartitionWriter:
    """All arrays of one partition; memory is bounded by the batch, whatever the number of rows."""

    def __init__(self, folder: Path, features: Sequence[ColumnSpec], labels: Sequence[ColumnSpec]) -> None:
        self.rows = 0
        self._folder = folder
        self._elements = Tally()
        self._arrays: list[ArrayWriter] = []
        with self._closed_on_error():
            for spec in (*features, *labels):
                self._arrays.append(ArrayWriter(folder, spec, label=spec in labels))

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
        with self._closed_on_error():
            for part in bad:
                self._elements.add("", part.kind, len(part.rows), self.rows + int(part.rows[0]), part.detail)
            # after the first bad row nothing is trained on: only count, so that the user sees all of it at once
            writing = not self.bad
            for array, parts in zip(self._arrays, cells if rows else ()):
                if writing and array.write(parts, rows):
                    continue
                array.count(parts, self.rows)
                if writing and not array.tally:
                    raise InternalError(f"array {array.spec.name!r} was refused, but no row of it is bad")
            self.rows += rows

    @property
    def bad(self) -> bool:
        """Whether a bad row was seen."""
        return bool(self._elements) or any(array.tally for array in self._arrays)

    def finish(self) -> tuple[tuple[SpoolFile, ...], tuple[RowProblem, ...]]:
        """Close the files and return them, or the problems; a partition with problems leaves no file."""
        with self._closed_on_error():
            files = tuple(array.finish() for array in self._arrays)
        if not self.bad:
            return files, ()
        shutil.rmtree(self._folder, ignore_errors=True)
        for array in self._arrays:
            self._elements.merge(array.tally)
        return (), self._elements.problems()

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all files; for the way out after an error."""
        for array in self._arrays:
            array.close()


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn an error of the local disk into ours; one of the user's data must not be taken for it."""
    try:
        yield
    except OSError as error:
        raise ClusterError(
            f"the spool cannot be written: {error.strerror or error} ({path}); free or enlarge that disk, "
            "or point spark.local.dir (on YARN: yarn.nodemanager.local-dirs) at another one"
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


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
