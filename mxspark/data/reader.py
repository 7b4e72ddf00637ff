"""Spooled rows to batches: maps the files of all partitions, gathers the rows of a step.

Only numpy happens here, so that the thread that reads never touches MXNet's engine.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from mxspark.data import plan as plans
from mxspark.data.dataset import DataSet
from mxspark.data.partitions import Partitions
from mxspark.data.plan import Plan
from mxspark.data.row_layout import RowLayout, Span
from mxspark.data.spool import ColumnSpec
from mxspark.data.weights import UNWEIGHED, RowWeights, Weighing
from mxspark.errors import InternalError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Batch:
    """The part of one global batch that one rank trains on.

    Attributes
    ----------
    epoch, step : int
        Which global batch; `step` counts within the epoch.
    inputs, labels : tuple of numpy arrays
        One per array name, each ``(local_rows, *row shape)`` and of the same `local_rows` in every step of a plan.
    real_rows : int
        Leading rows that count; the rest repeats rows of the same global batch and must weigh nothing.
    global_rows : int
        Real rows of this step over all ranks.
    ids : numpy int64, shape (real_rows,)
        Row ids of the real rows.
    weights : RowWeights or None
        What each row counts; None where all count the same.
    """

    epoch: int
    step: int
    inputs: tuple[Array, ...]
    labels: tuple[Array, ...]
    real_rows: int
    global_rows: int
    ids: Array
    weights: Optional[RowWeights] = None


class SpooledRows:
    """Rows of all partitions of a data set, by row id, without loading them.

    Parameters
    ----------
    data : DataSet
        Spooled rows, and the plan that counts them.
    names : sequence of str
        The arrays to read.
    mapped_bytes : int, optional
        How much may be mapped at once, as far as can be told.

    Attributes
    ----------
    layout : RowLayout
        Shape and element type of each array.

    Raises
    ------
    DataError
        If a file is not there, or smaller than its rows need.
    """

    def __init__(self, data: DataSet, names: Sequence[str], mapped_bytes: Optional[int] = None) -> None:
        self.layout = RowLayout.of(data.spool.arrays)
        self._scales = {array.name: np.float32(array.scale) for array in data.spool.arrays if array.scale != 1.0}
        self._partitions = Partitions.open(data.spool)
        if data.plan.rows_in_all != self._partitions.rows:
            raise InternalError(
                f"the plan counts {data.plan.rows_in_all} rows, the spool holds {self._partitions.rows}"
            )
        missing = [name for name in names if name not in self.layout]
        if missing:
            raise InternalError(f"rows were spooled without {missing[0]!r}: they hold {self.layout.names}")
        self._partitions.check(self.layout.row_bytes)
        self._pages = _Pages(mapped_bytes)
        # all at once, and for good: the files go with the executors that wrote them
        self._files = [self._pages.map(path, self.layout.row_bytes) for path in self._partitions.files]

    def gather(self, ids: Array, names: Sequence[str]) -> dict[str, Array]:
        """Return the rows `ids` (int64, shape (n,)) of some arrays, in that order: ``(n, *row shape)`` each, scaled."""
        files, places = self._partitions.find(ids)
        order = np.argsort(files, kind="stable")
        runs = np.flatnonzero(np.diff(files[order])) + 1
        groups = np.split(order, runs) if len(ids) else []
        found = {}
        for span in self.layout.spans(names):
            rows = np.empty((len(ids), span.stop - span.start), dtype=np.uint8)
            for group in groups:
                source = self._files[int(files[group[0]])]
                _take(source, places, span, group if len(groups) > 1 else None, rows)
            for name in span.names:
                found[name] = self._as_seen(name, self.layout.view(rows, name, span.start))
        self._pages.bound()
        return found

    def _as_seen(self, name: str, values: Array) -> Array:
        """Return values of the spool as the network sees them: C-contiguous, and scaled where they were not before."""
        if name in self._scales:
            return np.multiply(values, self._scales[name], dtype=np.float32, order="C")
        return np.require(values, requirements=("C", "A"))


def _take(source: Array, places: Array, span: Span, group: Optional[Array], into: Array) -> None:
    """Copy bytes of the rows at `places` of a file; of a `group` of them alone, to where they are in it."""
    is_whole = span.stop - span.start == source.shape[1]
    if group is None and is_whole:
        np.take(source, places, axis=0, out=into, mode="clip")
    elif is_whole:
        into[group] = np.take(source, places[group], axis=0)
    else:
        part = source[:, span.start : span.stop]
        into[slice(None) if group is None else group] = part[places if group is None else places[group]]


class _Pages:
    """The mapped files, whose pages are let go when there are more than `limit` bytes of them; they stay cached."""

    def __init__(self, limit: Optional[int]) -> None:
        self._limit = limit
        self._maps: list[mmap.mmap] = []
        self._bytes, self._before = 0, shared_bytes()

    def map(self, path: str, row_bytes: int) -> Array:
        """Map a file of rows that is not empty: numpy uint8, shape (rows, bytes)."""
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(mapped)
        self._bytes += len(mapped)
        rows = len(mapped) // row_bytes  # what is behind them a killed task has left
        return np.frombuffer(mapped, dtype=np.uint8, count=rows * row_bytes).reshape(rows, row_bytes)

    def bound(self) -> None:
        """Let all pages go if there may be too many."""
        if self._limit is None or self._bytes <= self._limit or shared_bytes() - self._before <= self._limit:
            return
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)
        self._before = shared_bytes()  # what is left is not ours


def shared_bytes() -> int:
    """Return the resident memory of this process that is of files or shared (proc(5), statm)."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[2]) * os.sysconf("SC_PAGE_SIZE")


class Reader:
    """Batches of one rank, in the order of the plan.

    Parameters
    ----------
    data : DataSet
        What to read.
    features, labels : sequence of ColumnSpec
        Arrays of a batch, in order.
    rank, size : int
        Which share of every global batch to read.
    mapped_bytes : int, optional
        As of `SpooledRows`.
    weighing : Weighing, optional
        How the rows are weighed, where they do not count the same.
    """

    def __init__(
        self,
        data: DataSet,
        features: Sequence[ColumnSpec],
        labels: Sequence[ColumnSpec],
        rank: int,
        size: int,
        mapped_bytes: Optional[int] = None,
        *,
        weighing: Weighing = UNWEIGHED,
    ) -> None:
        self.plan: Plan = data.plan
        self.features = tuple(column.name for column in features)
        self.labels = tuple(column.name for column in labels)
        names = dict.fromkeys((*self.features, *self.labels, *weighing.arrays))
        self.rows = SpooledRows(data, tuple(names), mapped_bytes)
        self._weighing = weighing
        self.local_rows = plans.rows_of_share(data.plan.batch_size, size)
        self._rank, self._size = rank, size

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch` from `first_step` on, read when asked for."""
        for step, ids in enumerate(self.plan.batches(epoch, first_step), first_step):
            yield self.batch(epoch, step, ids)

    def all_batches(self, epochs: range, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of several epochs; `first_step` counts in the first of them."""
        for epoch in epochs:
            yield from self.batches(epoch, first_step if epoch == epochs.start else 0)

    def batch(self, epoch: int, step: int, ids: Array) -> Batch:
        """Read this rank's share of the global batch `ids`, padded to `local_rows` rows.

        Padding repeats rows of the same global batch: rows of zeros can make a loss infinite, and infinity times
        nothing is not nothing.
        """
        mine = plans.share(ids, self._rank, self._size)
        after = len(ids) * (self._rank + 1) // self._size
        padding = ids[(after + np.arange(self.local_rows - len(mine))) % len(ids)]
        arrays = self.rows.gather(np.concatenate([mine, padding]), (*self.features, *self.labels))
        return Batch(
            epoch=epoch,
            step=step,
            inputs=tuple(arrays[name] for name in self.features),
            labels=tuple(arrays[name] for name in self.labels),
            real_rows=len(mine),
            global_rows=len(ids),
            ids=mine,
            weights=self._weigh(ids),
        )

    def is_weightless(self) -> bool:
        """Tell whether there are rows and none counts, as all have weight 0."""
        if not self._weighing.arrays or not self.plan.rows:
            return False
        batches = (self.rows.gather(ids, self._weighing.arrays) for ids in self.plan.batches(epoch=0))
        return not any(self._weighing.in_loss(rows).any() for rows in batches)

    def _weigh(self, ids: Array) -> Optional[RowWeights]:
        """Return what this rank's rows of the global batch `ids` count.

        Every rank reads the weights of the whole batch: they are small, and what one sums alone all know at once.
        """
        if not self._weighing.arrays:
            return None
        rows = self.rows.gather(ids, self._weighing.arrays)
        in_loss = self._weighing.in_loss(rows)
        in_metrics = self._weighing.in_metrics(rows)
        return RowWeights(
            in_loss=self._share(in_loss),
            in_metrics=None if in_metrics is None else self._share(in_metrics),
            mean=float(in_loss.mean()),
        )

    def _share(self, weights: Array) -> Array:
        """Return this rank's part of what belongs to a global batch, with zeros for padding."""
        mine = plans.share(weights, self._rank, self._size)
        padded = np.zeros(self.local_rows)
        padded[: len(mine)] = mine
        return padded
