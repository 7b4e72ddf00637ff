"""How many of the validation rows are training rows, number for number, told by some of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from mxspark.data.dataset import DataSet
from mxspark.data.plan import keys, mix
from mxspark.data.reader import SpooledRows

Prints = np.ndarray[Any, np.dtype[np.uint64]]

_LOOKED_AT_BYTES = 16 << 20
#: How many rows would have to be found if all were there: of fewer nothing is known.
_ENOUGH = 20
#: Where rows come several times anyway, as of a few flags, it says nothing that one is there twice.
_UNIQUE = 0.9


def share_of_training(
    training: DataSet, validation: DataSet, names: Sequence[str], mapped_bytes: Optional[int] = None
) -> float:
    """Return about what part of the validation rows are among the training rows; 0 where that is not known.

    Parameters
    ----------
    training, validation : DataSet
        Rows of two spools.
    names : sequence of str
        The arrays by which rows are compared.
    """
    one, other = (_prints(data, names, mapped_bytes) for data in (training, validation))
    unique = np.unique(one)
    if len(unique) < _UNIQUE * len(one):
        return 0.0
    if_all = len(one) * len(other) / training.plan.rows_in_all
    return float(np.isin(other, unique).sum() / if_all) if if_all >= _ENOUGH else 0.0


def _prints(data: DataSet, names: Sequence[str], mapped_bytes: Optional[int]) -> Prints:
    """Return a hash of each of some rows, spread over all: uint64, shape (n,)."""
    spooled = SpooledRows(data, names, mapped_bytes)
    rows = data.plan.rows_in_all
    count = min(rows, max(1, _LOOKED_AT_BYTES // spooled.layout.row_bytes))
    ids = np.linspace(0, rows - 1, count).astype(np.int64)
    flat = [array.reshape(count, -1).view(np.uint8) for array in spooled.gather(ids, names).values()]
    width = sum(part.shape[1] for part in flat)
    words = np.zeros((count, -(-width // 8) * 8), dtype=np.uint8)
    np.concatenate(flat, axis=1, out=words[:, :width])
    each: Prints = words.view(np.uint64)
    prints: Prints = mix(each ^ keys(np.arange(each.shape[1]), 0)).sum(axis=1, dtype=np.uint64)
    return prints
