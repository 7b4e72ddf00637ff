"""Spooled rows to batches: maps the files of all partitions, gathers the rows of a step, keeps one batch ahead.

Only numpy happens here, so that the thread that reads never touches MXNet's engine.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

import numpy as np

from mxspark.data import plan as plans
from mxspark.data.dataset import DataSet
from mxspark.data.plan import Plan
from mxspark.data.spool import ColumnSpec, SpoolReady, file_of
from mxspark.errors import DataError, InternalError

Array = np.ndarray[Any, np.dtype[Any]]
_STOP_S = 10.0


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
    """

    epoch: int
    step: int
    inputs: tuple[Array, ...]
    labels: tuple[Array, ...]
    real_rows: int
    global_rows: int
    ids: Array


class SpooledRows:
    """Rows of all partitions of a data set, by row id, without loading them.

    Parameters
    ----------
    data : DataSet
        Spools in order of their partition ids, and the plan that counts their rows.
    columns : sequence of ColumnSpec
        The arrays to map.
    mapped_bytes : int, optional
        How much of them may be mapped at once, as far as can be told.

    Raises
    ------
    DataError
        If a file is not there, or its size is not what its rows need.
    """

    def __init__(self, data: DataSet, columns: Sequence[ColumnSpec], mapped_bytes: Optional[int] = None) -> None:
        counts = tuple(spool.rows for spool in data.spools)
        if counts != data.plan.counts:
            raise InternalError(f"the plan counts {data.plan.counts} rows, the spools hold {counts}")
        self.names = tuple(column.name for column in columns)
        self._bases = data.plan.bases
        self._pages = _Pages(mapped_bytes)
        self._maps = {name: [_map(spool, name, self._pages) for spool in data.spools] for name in self.names}
        self.layout = {name: _layout(name, data.spools) for name in self.names}

    def gather(self, ids: Array) -> dict[str, Array]:
        """Return the rows `ids` (int64, shape (n,)) of every array, in that order: ``(n, *row shape)`` each."""
        partitions = np.searchsorted(self._bases, ids, side="right") - 1
        offsets = ids - self._bases[partitions]
        order = np.argsort(partitions, kind="stable")
        runs = np.flatnonzero(np.diff(partitions[order])) + 1
        groups = np.split(order, runs) if len(ids) else []
        rows = {name: self._gather(name, partitions, offsets, groups) for name in self.names}
        self._pages.bound()
        return rows

    def _gather(self, name: str, partitions: Array, offsets: Array, groups: list[Array]) -> Array:
        shape, dtype = self.layout[name]
        rows = np.empty((len(offsets), *shape), dtype=dtype)
        for group in groups:
            source = self._maps[name][int(partitions[group[0]])]
            if source is None:
                raise InternalError(f"row of an empty partition asked for: partition {int(partitions[group[0]])}")
            if len(groups) == 1:
                np.take(source, offsets, axis=0, out=rows, mode="clip")
            else:
                rows[group] = np.take(source, offsets[group], axis=0)
        return rows


class _Pages:
    """The mapped files, whose pages are let go when there are more than `limit` bytes of them; they stay cached."""

    def __init__(self, limit: Optional[int]) -> None:
        self._limit = limit
        self._maps: list[mmap.mmap] = []
        self._bytes, self._before = 0, shared_bytes()

    def map(self, path: Path) -> mmap.mmap:
        """Map a file that is not empty."""
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(mapped)
        self._bytes += len(mapped)
        return mapped

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


def _map(spool: SpoolReady, name: str, pages: _Pages) -> Optional[Array]:
    if not spool.rows:
        return None
    found = {file.name: file for file in spool.files}
    if name not in found:
        raise InternalError(f"partition {spool.partition} was spooled without {name!r}: it holds {sorted(found)}")
    file, path = found[name], file_of(spool.path, name)
    dtype = np.dtype(file.dtype)
    expected = spool.rows * int(np.prod(file.shape, dtype=np.int64)) * dtype.itemsize
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"the spooled rows of partition {spool.partition} cannot be read: {path}: {error.strerror}. They live in "
            "Spark's local dirs until the run ends; check that nothing cleans those folders (spark.local.dir)"
        ) from error
    if size != expected:
        raise DataError(
            f"the spooled rows of partition {spool.partition} are damaged: {path} has {size} bytes, {spool.rows} rows "
            f"need {expected}. Check the free space of Spark's local dirs (spark.local.dir) and run again"
        )
    return np.frombuffer(pages.map(path), dtype=dtype).reshape(spool.rows, *file.shape)


def _layout(name: str, spools: Sequence[SpoolReady]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    layouts = {(file.shape, file.dtype) for spool in spools if spool.rows for file in spool.files if file.name == name}
    if len(layouts) != 1:
        raise InternalError(f"{name!r} was spooled in {len(layouts)} layouts: {sorted(layouts)}")
    shape, dtype = layouts.pop()
    return shape, np.dtype(dtype)


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
    """

    def __init__(
        self,
        data: DataSet,
        features: Sequence[ColumnSpec],
        labels: Sequence[ColumnSpec],
        rank: int,
        size: int,
        mapped_bytes: Optional[int] = None,
    ) -> None:
        self.plan: Plan = data.plan
        self.rows = SpooledRows(data, (*features, *labels), mapped_bytes)
        self.features = tuple(column.name for column in features)
        self.labels = tuple(column.name for column in labels)
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
        arrays = self.rows.gather(np.concatenate([mine, padding]))
        return Batch(
            epoch=epoch,
            step=step,
            inputs=tuple(arrays[name] for name in self.features),
            labels=tuple(arrays[name] for name in self.labels),
            real_rows=len(mine),
            global_rows=len(ids),
            ids=mine,
        )


class Prefetch:
    """Runs an iterator of batches ahead, in a thread of its own.

    Two batches are read ahead, so that one is ready even when the reading thread gets the interpreter late. The queues
    are those written in C: a lock held by a thread that waits for the interpreter would cost milliseconds.

    Attributes
    ----------
    waited_s : float
        Seconds the consumer has waited for a batch.
    """

    AHEAD = 2

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._ready: queue.SimpleQueue[tuple[Optional[Batch], Optional[BaseException]]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[bool] = queue.SimpleQueue()
        for _ in range(self.AHEAD):
            self._room.put(True)
        self.waited_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mxspark-reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._room.get():
                batch = next(self._batches, None)
                self._ready.put((batch, None))
                if batch is None:
                    return
        except BaseException as error:  # handed to the consumer, which raises it
            self._ready.put((None, error))

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches; an exception of the reading thread is raised here."""
        while True:
            start = time.monotonic()
            batch, error = self._ready.get()
            self.waited_s += time.monotonic() - start
            if error is not None:
                raise error
            if batch is None:
                return
            self._room.put(True)
            yield batch

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread; what it has read ahead is dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._room.get_nowait()
        self._room.put(False)
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            raise InternalError(f"the reading thread did not stop within {_STOP_S:g} s")
