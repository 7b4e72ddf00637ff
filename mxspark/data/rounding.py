"""Whole numbers that a floating type cannot hold: ids, times in seconds, amounts in cents become others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOOKED_AT = 64
"""Rows of a block that tell whether a column of doubles has fractions; all of them would cost a pass over the data."""


class Rounding:
    """Counts the rows whose whole numbers are not kept, by column of the array.

    A column that has fractions is a measurement, which every type rounds.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._last = 2 ** (np.finfo(dtype).nmant + 1)  # up to here the type holds every whole number
        self._changed: Any = 0
        self._measured: Any = False

    def look(self, block: NDArray[Any], converted: NDArray[Any], low: Any, high: Any) -> None:
        """Take in rows, shape (rows, width), before and after they were converted, and their extremes."""
        if block.dtype == self._dtype:
            return
        is_large = low < -self._last or high > self._last
        if block.dtype.kind == "f":
            some = block if is_large else block[:_LOOKED_AT]
            self._measured = self._measured | (np.rint(some) != some).any(axis=0)
        if is_large:
            # the one type that holds all of 64 bits and all of float64
            changed = converted.astype(np.longdouble) != block.astype(np.longdouble)
            self._changed = self._changed + changed.sum(axis=0)

    @property
    def rows(self) -> int:
        """Rows with a number that was changed, of the column that has most of them."""
        return int(np.max(np.where(self._measured, 0, self._changed)))
