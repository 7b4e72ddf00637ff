"""Where the rows of every partition are: a table of numbers, however many partitions there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mxspark.data.spool import Spool, SpoolReady
from mxspark.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


class Partitions:
    """The partitions of a spool.

    Parameters
    ----------
    table : numpy int64, shape (partitions, 3)
        Of each partition its rows, the place of its file in `files`, and that of its first row there.
    files : sequence of str
        Files of rows.

    Attributes
    ----------
    rows : int
        Rows of all partitions.
    """

    def __init__(self, table: Array, files: Sequence[str]) -> None:
        self.files = tuple(files)
        self._table = table
        self._bases = np.concatenate([[0], np.cumsum(table[:, 0], dtype=np.int64)]).astype(np.int64)
        self.rows = int(self._bases[-1])

    @classmethod
    def of(cls, ready: Sequence[SpoolReady]) -> Partitions:
        """Take in the answers of tasks, in order of their partition ids."""
        places = {path: place for place, path in enumerate(dict.fromkeys(part.path for part in ready if part.rows))}
        lines = [(part.rows, places.get(part.path, 0), part.first) for part in ready]
        return cls(np.array(lines, dtype=np.int64).reshape(-1, 3), tuple(places))

    @classmethod
    def open(cls, spool: Spool) -> Partitions:
        """Read the table of a spool.

        Raises
        ------
        DataError
            If it is not there.
        """
        try:
            return cls(np.load(spool.table, allow_pickle=False), spool.files)
        except OSError as error:
            raise DataError(
                f"the list of the spooled partitions cannot be read: {spool.table}: {error.strerror}. It lies in the "
                "driver's temporary folder until the run ends; check that nothing cleans that folder (TMPDIR)"
            ) from error

    def write(self, path: Path) -> None:
        """Write the table to a file, which :meth:`open` reads."""
        with path.open("wb") as file:
            np.save(file, self._table, allow_pickle=False)

    def find(self, ids: Array) -> tuple[Array, Array]:
        """Return where rows are, each as numpy int64, shape (n,): the places of their files, and their own in these."""
        partitions = np.searchsorted(self._bases, ids, side="right") - 1
        return self._table[partitions, 1], self._table[partitions, 2] + ids - self._bases[partitions]

    def check(self, row_bytes: int) -> None:
        """Prove that every file is there, and holds the rows that are said to be in it.

        Raises
        ------
        DataError
            Naming the first that does not.
        """
        for place, path in enumerate(self.files):
            here = self._table[(self._table[:, 1] == place) & (self._table[:, 0] > 0)]
            needed = int((here[:, 0] + here[:, 2]).max()) * row_bytes
            try:
                size = os.stat(path).st_size
            except OSError as error:
                raise DataError(
                    f"the spooled rows of {len(here)} partitions cannot be read: {path}: {error.strerror}. They live "
                    "in Spark's local dirs until the run ends; check that nothing cleans those (spark.local.dir)"
                ) from error
            if size < needed:
                raise DataError(
                    f"the spooled rows of {len(here)} partitions are damaged: {path} has {size} bytes, they need "
                    f"{needed}. Check the free space of Spark's local dirs (spark.local.dir) and run again"
                )
