"""Sparse vectors become dense rows on disk: how much that is, before it is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame

from mxspark.data.spool import ColumnSpec
from mxspark.errors import DataError
from mxspark.spark.session import compat
from mxspark.spark.spool import stage

WIDE_BYTES = 64 << 10
"""A row of less is not looked at: reading one to see whether it is sparse takes a job of Spark's."""


@dataclass(frozen=True)
class Dense:
    """A column of sparse vectors as it will be on disk."""

    column: str
    width: int
    row_bytes: int
    rows: int

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes

    def __str__(self) -> str:
        return (
            f"column {self.column}: sparse vectors of {self.width:,} values are spooled dense, {self.rows:,} rows of "
            f"{self.row_bytes / 2**20:,.1f} MiB, {self.size / 2**30:,.1f} GiB in all"
        )


def look(frame: DataFrame, specs: Sequence[ColumnSpec]) -> list[Dense]:
    """Return the columns of wide sparse vectors, of which the rows are counted; empty where there is none."""
    kinds = stage.fields(frame)
    row_bytes: dict[str, int] = {}
    for spec in specs:
        (column, *more) = spec.columns
        if not more and kinds.get(column) == "vector" and _may_be_wide(frame, spec):
            row_bytes[column] = np.dtype(spec.spooled_dtype).itemsize
    if not row_bytes:
        return []
    try:
        first = frame.select(*map(stage.named, row_bytes)).first()
        wide = {
            column: int(value.size)
            for column, value in zip(row_bytes, first or ())
            if type(value).__name__ == "SparseVector" and value.size * row_bytes[column] >= WIDE_BYTES
        }
        rows = frame.count() if wide else 0
    except compat.SPARK_ERRORS:
        return []  # the spool is next, meets the same and has words for it
    return [Dense(column, width, width * row_bytes[column], rows) for column, width in wide.items()]


def require_room(found: Sequence[Dense], folders: Sequence[str]) -> None:
    """Refuse what does not fit on the disks of this machine.

    Raises
    ------
    DataError
        With the size, the room there is, and what to do.
    """
    free = {os.stat(folder).st_dev: shutil.disk_usage(folder).free for folder in folders if os.path.isdir(folder)}
    if not free or sum(one.size for one in found) <= sum(free.values()):
        return
    room = f"{', '.join(folders)} has {sum(free.values()) / 2**30:,.1f} GiB free"
    raise DataError(
        f"{'; '.join(map(str, found))}, and {room}; make the vectors shorter (numFeatures of HashingTF, vocabSize "
        "of CountVectorizer), give their indices as an array for an Embedding, or point spark.local.dir at another disk"
    )


def _may_be_wide(frame: DataFrame, spec: ColumnSpec) -> bool:
    """Tell whether a row may be wide; transformers of spark.ml say of what they make how many values it has."""
    known = frame.schema[spec.columns[0]].metadata.get("ml_attr", {}).get("num_attrs")
    return known is None or known * np.dtype(spec.spooled_dtype).itemsize >= WIDE_BYTES
