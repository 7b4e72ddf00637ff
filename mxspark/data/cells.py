"""Values of one column of some rows, and what is wrong with some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from mxspark.data.columns import width
from mxspark.data.spool import ColumnSpec


@dataclass(frozen=True)
class BadRows:
    """Rows of a block with one kind of problem: offsets in the block, int64, shape (rows,)."""

    kind: str
    rows: NDArray[np.int64]
    detail: str


@dataclass(frozen=True)
class Cells:
    """One source column of a batch.

    Attributes
    ----------
    values : ndarray
        Any numeric dtype, shape (good rows,) for a scalar or (good rows, width).
    rows : ndarray or None
        Offsets in the batch of the good rows, int64; None where every row is good.
    bad : tuple of BadRows
        The other rows.
    """

    values: NDArray[Any]
    rows: Optional[NDArray[np.int64]] = None
    bad: tuple[BadRows, ...] = ()


def expected_widths(specs: Sequence[ColumnSpec]) -> list[list[Optional[int]]]:
    """Return the values a row has in each source column of each array; None where the first row decides."""
    return [[width(spec)] if len(spec.columns) == 1 else [1] * len(spec.columns) for spec in specs]
