"""Where each parameter lies in the memory that the workers of a host share.

Every worker has a segment (its gradients, and what else it gives to be summed), and there is one of them all: the
totals, and where each worker updates its share behind them the values, and the optimizer's state. Segments, totals and
values have one layout: trained parameters first, then statistics, those of one dtype side by side: few long runs to add
and to update.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mxnet.gluon import Parameter
    from numpy.typing import NDArray

ALIGNMENT = 64  # bytes: a cache line, and what oneDNN likes
BLOCK_BYTES = 2**18  # summed at once: the blocks of all workers stay in a core's cache


@dataclass(frozen=True)
class Place:
    """Where a parameter lies: bytes from the start of a segment, shape, dtype."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Its size without padding."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def view(self, memory: Any, start: int = 0) -> NDArray[Any]:
        """Return the array that lies here in a segment, or in the one that begins `start` bytes into this memory."""
        count = int(np.prod(self.shape, dtype=np.int64))
        return np.frombuffer(memory, dtype=self.dtype, count=count, offset=start + self.offset).reshape(self.shape)


@dataclass(frozen=True)
class Run:
    """Parameters of one dtype side by side: first byte, byte after the last, dtype."""

    start: int
    stop: int
    dtype: str

    def share(self, place: int, of: int) -> Run:
        """Return the part of this run that the worker at `place` of so many has: whole lines of a cache."""
        lines = (self.stop - self.start) // ALIGNMENT
        first, last = (self.start + lines * part // of * ALIGNMENT for part in (place, place + 1))
        return Run(first, last, self.dtype)


@dataclass(frozen=True)
class Layout:
    """The places of all parameters, by name, and the runs that trained ones and statistics make."""

    places: dict[str, Place]
    trained: tuple[Run, ...]
    statistics: tuple[Run, ...]
    nbytes: int

    @classmethod
    def of(cls, parameters: Sequence[Parameter]) -> Layout:
        """Lay out parameters in their own order within each dtype."""
        places: dict[str, Place] = {}
        at = 0
        runs: list[list[Run]] = [[], []]
        for kind, chosen in enumerate(_split(parameters)):
            for dtype in sorted({np.dtype(p.dtype).name for p in chosen}):
                # By name, not in the order seen: every process must come to the same layout.
                start = at
                for parameter in (p for p in chosen if np.dtype(p.dtype).name == dtype):
                    place = Place(at, tuple(parameter.shape), dtype)
                    places[parameter.name] = place
                    at += -(-place.nbytes // ALIGNMENT) * ALIGNMENT
                runs[kind].append(Run(start, at, dtype))
        return cls(places, tuple(runs[0]), tuple(runs[1]), max(at, ALIGNMENT))

    @property
    def digest(self) -> bytes:
        """Tells layouts apart: of shapes, dtypes and order, not of names, which Gluon counts through."""
        return hashlib.sha256(repr([tuple(vars(place).values()) for place in self.places.values()]).encode()).digest()


def _split(parameters: Sequence[Parameter]) -> tuple[list[Parameter], list[Parameter]]:
    return [p for p in parameters if p.grad_req != "null"], [p for p in parameters if p.grad_req == "null"]


def map_segment(fd: int, nbytes: int) -> mmap.mmap:
    """Map a segment that has been given its size; the descriptor is closed."""
    try:
        return mmap.mmap(fd, nbytes)
    finally:
        os.close(fd)


class Sum:
    """Adds some runs of all segments, block by block, in order of rank, into the totals."""

    def __init__(self, runs: Sequence[Run], segments: Sequence[Any], totals: Any) -> None:
        self._blocks: list[tuple[NDArray[Any], list[NDArray[Any]]]] = []
        for run in runs:
            for start in range(run.start, run.stop, BLOCK_BYTES):
                stop = min(start + BLOCK_BYTES, run.stop)
                parts = [_block(segment, start, stop, run.dtype) for segment in segments]
                self._blocks.append((_block(totals, start, stop, run.dtype), parts))

    def __call__(self) -> None:
        """Add."""
        for total, parts in self._blocks:
            np.add(parts[0], parts[1], out=total)
            for part in parts[2:]:
                np.add(total, part, out=total)


def _block(memory: Any, start: int, stop: int, dtype: str) -> NDArray[Any]:
    return np.frombuffer(memory, dtype=dtype, count=(stop - start) // np.dtype(dtype).itemsize, offset=start)


@dataclass(frozen=True)
class Mapped:
    """What a worker has of the shared memory.

    Attributes
    ----------
    layout : Layout
        Of every segment, and of the totals.
    own, totals : buffer
        This worker's segment, and the totals of all.
    sums : list of NDArray
        The totals of the parameters that take a gradient, in order.
    gradients, statistics : Sum
        Add this worker's share of all segments into the totals.
    is_divided : bool
        Whether each worker updates its share.
    """

    layout: Layout
    own: Any
    totals: Any
    sums: list[Any]
    gradients: Sum
    statistics: Sum
    is_divided: bool


def give_back() -> None:
    """Give the kernel back what private values and gradients took: as roles are started, glibc keeps what is freed."""
    ctypes.CDLL(None).malloc_trim(0)
