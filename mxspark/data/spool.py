"""What a spooled partition is: the values that cross from the tasks that write spools to the workers that map them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class ColumnSpec:
    """One array of a batch and the columns of the DataFrame it is made of.

    Attributes
    ----------
    name : str
        Name of the array; the column's name unless several columns make one array.
    columns : tuple of str
        Source columns, in order. Several numeric scalars become one vector.
    shape : tuple of int or None
        Shape of one row, ``()`` for a scalar; None until it is known from the schema or the data.
    dtype : str
        numpy name of the element type the network sees.
    scale : float
        Factor every value is multiplied with while spooling, or when it is read, see `held`.
    classes : int or None
        For a label: values must be whole numbers in ``[0, classes)``.
    is_weight : bool
        Whether it is what the rows count, ``data.weight``: no value may be negative.
    held : str or None
        numpy name of the element type in the spool, where values lie there as they are and are scaled when read.
    """

    name: str
    columns: tuple[str, ...]
    shape: Optional[tuple[int, ...]]
    dtype: str
    scale: float = 1.0
    classes: Optional[int] = None
    is_weight: bool = False
    held: Optional[str] = None

    @property
    def spooled_dtype(self) -> str:
        """numpy name of the element type in the spool."""
        return self.dtype if self.held is None else self.held

    @property
    def scale_of_spool(self) -> float:
        """Factor values are multiplied with while spooling."""
        return self.scale if self.held is None else 1.0

    @property
    def scale_of_reader(self) -> float:
        """Factor values are multiplied with when they are read."""
        return 1.0 if self.held is None else self.scale


@dataclass(frozen=True)
class Content:
    """What the extremes of a label do not tell.

    Attributes
    ----------
    is_whole, has_zero : bool
        Whether all values are whole numbers, and whether 0 is one of them.
    sums : tuple of float
        Smallest and largest sum of the values of a row.
    """

    is_whole: bool
    has_zero: bool
    sums: tuple[float, float]

    @classmethod
    def of_all(cls, parts: Sequence[Content]) -> Optional[Content]:
        """Return what several parts hold together; None of no part."""
        if not parts:
            return None
        return cls(
            is_whole=all(part.is_whole for part in parts),
            has_zero=any(part.has_zero for part in parts),
            sums=(min(part.sums[0] for part in parts), max(part.sums[1] for part in parts)),
        )


@dataclass(frozen=True)
class SpooledArray:
    """What is known of one array of some rows: those of a partition, or all.

    Attributes
    ----------
    name : str
        Name of the array (`ColumnSpec.name`).
    dtype : str
        numpy name of the element type in the spool.
    shape : tuple of int
        Shape of one row, ``()`` for a scalar, ``(0,)`` where there is no row and the shape was not declared.
    minimum, maximum : float or None
        Over all elements after scaling, be that while spooling or when read; None where there is no row.
    content : Content or None
        Of a label that has rows.
    rounded : int
        Rows with a whole number that the dtype cannot hold, and rounds.
    has_fractions : bool
        Whether every source column is known to hold measurements, of which `rounded` says nothing.
    has_vanished : bool
        Whether numbers became 0 because the dtype holds none as small, where all values are 0.
    is_whole : bool
        Whether all elements are known to be whole numbers.
    scale : float
        Factor they are multiplied with when they are read, which makes them float32; 1 leaves them as they are.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    minimum: Optional[float]
    maximum: Optional[float]
    content: Optional[Content] = None
    rounded: int = 0
    has_fractions: bool = False
    has_vanished: bool = False
    is_whole: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class RowProblem:
    """Rows of one partition that cannot be trained on.

    Attributes
    ----------
    column : str
        Source column; "" for an element of an RDD that is unusable as a whole.
    kind : str
        One of `row_problems.KINDS`.
    count : int
        Rows with this problem in this partition.
    first_row : int
        Offset in the partition of the first of them.
    detail : str
        What was seen, without row values: "length 63 where 64 was expected".
    """

    column: str
    kind: str
    count: int
    first_row: int
    detail: str


@dataclass(frozen=True)
class SpoolReady:
    """A partition on local disk: the answer of the task that wrote it.

    It is as short with any number of arrays, for there may be thousands of each; what is known of them is in a file.

    Attributes
    ----------
    host : str
        Host identity (`identity.host_identity`) of the machine that holds the rows.
    partition : int
        Spark partition id; with the offset it names a row for the life of the job.
    rows : int
        Number of rows.
    path : str
        File of rows, of this and of other partitions.
    first : int
        Place of the first row there, in rows.
    facts : tuple of (int, int)
        Where in the file of facts beside it begins what is known of the rows, and how many bytes it has.
    told : str or None
        base64 of that, where it is in no file: for a driver that may be on another host.
    """

    host: str
    partition: int
    rows: int
    path: str
    first: int
    facts: tuple[int, int]
    told: Optional[str] = None


@dataclass(frozen=True)
class Spool:
    """All rows of a data set on local disk, as workers are told of them: as short with any number of partitions.

    Attributes
    ----------
    rows : int
        Number of rows.
    arrays : tuple of SpooledArray
        In the order in which they lie in a row.
    files : tuple of str
        Files of rows.
    table : str
        File that says where in them each partition is (`partitions.Partitions`).
    """

    rows: int
    arrays: tuple[SpooledArray, ...]
    files: tuple[str, ...]
    table: str


def run_folder_name(run_id: str) -> str:
    """Return the name of the folder that holds all spools of a run on one local disk."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", run_id):
        raise ValueError(f"run id {run_id!r} cannot be part of a folder's name; use letters, digits, '_', '.' and '-'")
    return f"mxspark-{run_id}"


def run_folder(path: str, run_id: str) -> Path:
    """Return the run's folder on the local disk that holds a spool.

    Parameters
    ----------
    path : str
        `SpoolReady.path`, ``<local dir>/mxspark-<run_id>/<name>/<file>``.
    run_id : str
        The run that made it.

    Raises
    ------
    ValueError
        If the path does not lie in a folder of this run: nothing else is ever removed.
    """
    parts = Path(path).parts
    if len(parts) < 4 or not Path(path).is_absolute() or ".." in parts or parts[-3] != run_folder_name(run_id):
        raise ValueError(f"{path!r} is not a spool of run {run_id!r}")
    return Path(*parts[:-2])


def remove_run_folder(path: str, run_id: str) -> None:
    """Remove all spools of a run from the local disk that holds `path`, those of lost and failed tasks too.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    import shutil  # 10 ms that an agent's start need not wait for

    folder = run_folder(path, run_id)
    for last in (False, False, True):
        if not folder.exists():
            return
        try:
            shutil.rmtree(folder)
        except OSError:  # a killed task of a speculative pair may still be writing, or removing its own files
            if last and folder.exists():
                raise
