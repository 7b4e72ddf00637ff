"""Where the arrays of a row lie: the bytes of one array after those of the other, without gaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mxspark.data.spool import SpooledArray

Array = np.ndarray[Any, np.dtype[Any]]

_GAP_BYTES = 256  # of a row: so much is sooner copied with its neighbours than left out, which takes two copies


@dataclass(frozen=True)
class Span:
    """Bytes of a row, from `start` to `stop`, in which some arrays lie."""

    start: int
    stop: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    start: int
    stop: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class RowLayout:
    """The places of arrays in a row.

    Parameters
    ----------
    arrays : iterable of (str, str, tuple of int)
        Name, element type and shape of each, in the order in which they lie.

    Attributes
    ----------
    row_bytes, widest_bytes : int
        Size of a row, and of its widest array.
    """

    def __init__(self, arrays: Iterable[tuple[str, str, tuple[int, ...]]]) -> None:
        self.row_bytes = 0
        self.widest_bytes = 0
        self._places: dict[str, _Place] = {}
        for name, dtype, shape in arrays:
            one = np.empty(shape, dtype)
            stop = self.row_bytes + one.nbytes
            self._places[name] = _Place(self.row_bytes, stop, one.dtype, shape, one.strides)
            self.row_bytes = stop
            self.widest_bytes = max(self.widest_bytes, one.nbytes)

    @classmethod
    def of(cls, arrays: Iterable[SpooledArray]) -> RowLayout:
        """Return that of spooled rows."""
        return cls((array.name, array.dtype, array.shape) for array in arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def names(self) -> list[str]:
        """All arrays, in the order in which they lie."""
        return list(self._places)

    def __getitem__(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape of an array in one row, and its element type."""
        return self._places[name].shape, self._places[name].dtype

    def view(self, rows: Array, name: str, start: int = 0) -> Array:
        """Return an array of some rows, shape ``(n, *row shape)``, where it lies in them.

        Parameters
        ----------
        rows : numpy uint8, shape (n, bytes)
            C-contiguous: of each row the bytes from `start` on.
        """
        place = self._places[name]
        shape = (len(rows), *place.shape)
        if not rows.size:
            return np.empty(shape, place.dtype)
        return np.ndarray(shape, place.dtype, rows.data, place.start - start, (rows.strides[0], *place.strides))

    def spans(self, names: Sequence[str]) -> Iterator[Span]:
        """Yield the runs of bytes in which some arrays lie."""
        run: list[str] = []
        for name in sorted(set(names), key=lambda name: self._places[name].start):
            if run and self._places[name].start > self._places[run[-1]].stop + _GAP_BYTES:
                yield self._span(run)
                run = []
            run.append(name)
        if run:
            yield self._span(run)

    def _span(self, names: Sequence[str]) -> Span:
        return Span(self._places[names[0]].start, self._places[names[-1]].stop, tuple(names))
