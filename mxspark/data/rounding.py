"""Whole numbers that a floating type cannot hold: ids, times in seconds, amounts in cents become others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOOKED_AT = 64
"""Rows of a block that tell whether a column of doubles has fractions; all of them would cost a pass over the data."""
_ALL_WHOLE = 2.0**53
"""From here on a double has no fraction to show: so large a number is a measurement, not an id."""


class Rounding:
    """Counts the rows whose whole numbers are not kept, by column of the array.

    A column that has fractions is a measurement, which every type rounds.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._last = 2 ** (np.finfo(dtype).nmant + 1)  # up to here the type holds every whole number
        self._changed: Any = 0
        self._measured: Any = False

    def look(self, block: NDArray[Any], converted: NDArray[Any], low: Any, high: Any, is_whole: Any) -> None:
        """Take in rows, shape (rows, width), before and after they were converted, and their extremes.

        `is_whole` tells of the columns, or of all of them, whether they were whole numbers before they were put
        together with others.
        """
        if block.dtype == self._dtype:
            return
        is_large = low < -self._last or high > self._last
        if block.dtype.kind == "f":
            # of all of it: sorted rows may begin with those that happen to be whole
            some = block if is_large else block[:: max(1, len(block) // _LOOKED_AT)]
            has_fractions = ((np.rint(some) != some) | (np.abs(some) > _ALL_WHOLE)).any(axis=0)
            self._measured = self._measured | (has_fractions & ~np.asarray(is_whole))
        if is_large and not self.has_fractions:
            self._changed = self._changed + _changed(block, converted).sum(axis=0)

    @property
    def has_fractions(self) -> bool:
        """Whether every column is known to be a measurement."""
        return bool(np.all(self._measured))

    @property
    def rows(self) -> int:
        """Rows with a number that was changed, of the column that has most of them."""
        return int(np.max(np.where(self._measured, 0, self._changed)))


def _changed(block: NDArray[Any], converted: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell of each number whether the conversion made another of it."""
    if block.dtype.kind == "f":
        back: NDArray[np.bool_] = converted.astype(block.dtype) != block  # exact: the way back is to a wider type
        return back
    # the one type that holds all of 64 bits and all of float64
    changed: NDArray[np.bool_] = converted.astype(np.longdouble) != block.astype(np.longdouble)
    return changed
