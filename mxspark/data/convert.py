"""From the numbers a column holds to the numbers the network sees, and which of them do not survive it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from mxspark.data.cells import BadRows
from mxspark.data.label_content import content_of
from mxspark.data.rounding import Rounding
from mxspark.data.spool import Content

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Converted:
    """A block in the target type, its extremes (of an empty one infinity and minus infinity), a label's content."""

    values: NDArray[Any]
    minimum: float
    maximum: float
    content: Optional[Content] = None


class Target:
    """What an array's elements become: ``dtype(value * scale)``, rounded once.

    Parameters
    ----------
    dtype : str
        numpy name of the element type.
    scale : float
        Factor; the product is computed in the widest of the two types and float32: of small whole numbers and float16
        it would be one of factors rounded to float16, and in float16 itself.
    classes : int or None
        Values must be whole numbers in ``[0, classes)``.
    label : bool
        Whether the array is a label: its problems have another name, and what it holds is described.
    is_weight : bool
        Whether it is what the rows count: no value may be negative.

    Attributes
    ----------
    has_vanished : bool
        Whether a block was converted to zeros that had other numbers before.
    """

    def __init__(self, dtype: str, scale: float, classes: Optional[int], label: bool, is_weight: bool = False) -> None:
        self.dtype = np.dtype(dtype)
        self._scale = scale
        self._classes = classes
        self._kind = "weight" if is_weight else "label" if label else "type"
        self._whole = self.dtype.kind in "iu"
        self._scaled_by = "" if scale == 1.0 else f" once multiplied by scale {scale:g}"
        self._smallest = 0.0 if self._whole else float(np.finfo(self.dtype).tiny)
        self.has_vanished = False
        self._rounding = None if self._whole or scale != 1.0 else Rounding(self.dtype)
        self._kinds: set[str] = set()

    def convert(self, block: NDArray[Any], is_whole: Any = False) -> Optional[Converted]:
        """Return the block in the target type, C-contiguous, uncopied if it is that; None if a value is bad.

        `is_whole` tells of its columns whether they were whole numbers before they were put together with others.
        """
        if not block.size:
            return Converted(np.ascontiguousarray(block, dtype=self.dtype), math.inf, -math.inf)
        self._kinds.add(block.dtype.kind)
        scaled = self._scaled(block)
        # a NaN anywhere makes both extremes NaN: whatever is wrong with a value shows in them
        low, high = scaled.min(), scaled.max()
        if (self._whole or self._classes is not None) and not self._whole_in_range(scaled, low, high):
            return None
        if self._kind == "weight" and (low < 0 or self._is_too_small(scaled).any()):
            return None
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(scaled, dtype=self.dtype)
            # rounding is monotonic: where the extremes stay finite, all do
            narrowed = np.array([low, high], dtype=self.dtype)
        if not self._whole and not np.isfinite(narrowed).all():
            return None
        if not narrowed.any() and (low or high):
            self.has_vanished = True
        if self._rounding is not None:
            self._rounding.look(block, converted, low, high, is_whole)
        content = content_of(converted) if self._kind == "label" else None
        return Converted(converted, float(narrowed[0]), float(narrowed[1]), content)

    @property
    def rounded(self) -> int:
        """Rows so far with a whole number that the type cannot hold."""
        return 0 if self._rounding is None else self._rounding.rows

    @property
    def has_fractions(self) -> bool:
        """Whether every column so far is a measurement, which every type rounds."""
        return self._rounding is not None and self._rounding.has_fractions

    @property
    def is_whole(self) -> bool:
        """Whether the types alone say that all numbers so far are whole ones."""
        return self._whole or (self._scale == 1.0 and self._kinds <= set("iub"))

    def bad_rows(self, block: NDArray[Any]) -> Iterator[BadRows]:
        """Yield the bad rows of a block, shape (rows, width), by kind; a row counts once, by its worst value."""
        if not block.size:
            return
        scaled = self._scaled(block)
        seen = np.zeros(len(block), dtype=bool)
        for kind, mask, detail in self._masks(scaled):
            rows = mask.any(axis=1) & ~seen
            if rows.any():
                yield BadRows(kind, np.flatnonzero(rows), detail)
            seen |= rows

    def _scaled(self, block: NDArray[Any]) -> NDArray[Any]:
        if self._scale == 1.0:
            return block
        wide = _holding(block) if self._whole else np.result_type(block.dtype, self.dtype, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.multiply(block, wide.type(self._scale), dtype=wide)

    def _is_too_small(self, scaled: NDArray[Any]) -> Mask:
        """Tell which weights are no longer what they were, or 0, so that their rows count for nothing."""
        too_small: Mask = (scaled > 0) & (scaled < self._smallest)
        return too_small

    def _whole_in_range(self, scaled: NDArray[Any], low: Any, high: Any) -> bool:
        first, last = self._range()
        if not (_number(low) >= first and _number(high) <= last):
            return False
        return scaled.dtype.kind != "f" or bool((np.rint(scaled) == scaled).all())

    def _range(self) -> tuple[int, int]:
        info = np.iinfo(self.dtype) if self._whole else None
        first, last = (int(info.min), int(info.max)) if info else (0, (self._classes or 0) - 1)
        return (first, last) if self._classes is None else (max(first, 0), min(last, self._classes - 1))

    def _masks(self, scaled: NDArray[Any]) -> Iterator[tuple[str, Mask, str]]:
        if scaled.dtype.kind == "f":
            yield "not finite", np.isnan(scaled), "NaN"
            yield "not finite", np.isinf(scaled), "infinite"
            if not self._whole:
                with np.errstate(over="ignore", invalid="ignore"):
                    narrowed = scaled.astype(self.dtype)
                yield "not finite", np.isinf(narrowed), f"too large for {self.dtype}"
        if self._kind == "weight":
            with np.errstate(invalid="ignore"):
                yield self._kind, scaled < 0, "negative"
                yield self._kind, self._is_too_small(scaled), f"above 0 and too small for {self.dtype}"
        if not self._whole and self._classes is None:
            return
        first, last = self._range()
        if scaled.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                yield self._kind, np.rint(scaled) != scaled, f"not a whole number{self._scaled_by}"
        outside = f"outside [0, {self._classes})" if self._classes is not None else f"outside the range of {self.dtype}"
        yield self._kind, (scaled < first) | _above(scaled, last), f"{outside}{self._scaled_by}"


def _holding(block: NDArray[Any]) -> np.dtype[Any]:
    """Return a type of fractions that holds every number of a block: of ids of 64 bits a double does not."""
    return np.dtype(np.longdouble if is_beyond_a_double(block) else np.float64)


def is_beyond_a_double(block: NDArray[Any]) -> bool:
    """Tell whether some of its whole numbers, ids of 64 bits, would be others as doubles."""
    is_long = block.dtype.kind in "iu" and block.itemsize == 8 and block.size > 0
    return is_long and max(-int(block.min()), int(block.max())) > 2**53


def _number(value: Any) -> Any:
    """A numpy scalar as Python number, whose comparisons do not round."""
    return value.item()


def _above(scaled: NDArray[Any], last: int) -> Mask:
    # float64(2**63 - 1) is 2**63, which does not fit
    if scaled.dtype.kind == "f" and last >= 2**53:
        return np.asarray(scaled >= float(last))
    return np.asarray(scaled > last)
