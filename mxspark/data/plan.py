"""Which rows are trained on in which step: pure arithmetic on the number of rows, the same in every process.

A row is (partition, offset), here counted through all partitions as one *row id*: ``id = base[partition] + offset``.
The order of an epoch is a function of (rows, seed, epoch) and nothing else, so the rows of global batch ``k`` do not
depend on the number of workers; ranks divide each global batch evenly.

Memory is by blocks, not by rows: contiguous *blocks* are put in a random order, and rows are shuffled inside a *window*
of consecutive blocks of that order. Reading a spool larger than memory therefore goes in long runs.

The random order is the order of a hash (splitmix64, Steele et al., OOPSLA 2014), not of a numpy generator: it is the
same with every numpy version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

EVERY = "every"
TRAINING = "training"
VALIDATION = "validation"
# Salts of the hash, so that the three draws know nothing of each other; checkpoints of jobs rely on them.
_ORDER_OF_BLOCKS = 1
_ORDER_OF_ROWS = 2
_VALIDATION_DRAW = 3


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the splitmix64 finaliser of each value (uint64, any shape)."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z ^= z >> np.uint64(shift)
            z *= np.uint64(factor)
        z ^= z >> np.uint64(31)
        return z


def keys(ids: Ids, *salt: int) -> NDArray[np.uint64]:
    """Return one pseudo-random uint64 for each id, a function of the id and the salt."""
    state = np.zeros(1, dtype=np.uint64)
    for part in salt:
        state = mix(state ^ np.uint64(part & 0xFFFFFFFFFFFFFFFF))
    return mix(ids.astype(np.uint64) ^ mix(state))


@dataclass(frozen=True)
class Plan:
    """The steps of every epoch over the rows of one data set.

    Attributes
    ----------
    rows_in_all : int
        Rows of the data set, chosen or not.
    batch_size : int
        Rows of a global batch, over all workers.
    seed : int
        Seed of the job.
    part : str
        ``every`` row, or only those of the ``training`` or ``validation`` side of the split.
    fraction : float
        Share of the rows drawn for validation, in [0, 1).
    shuffle : bool
        Whether an epoch is shuffled; without it rows come in order of their ids.
    block_rows, window_blocks : int
        Rows of a block and blocks of a window.
    """

    rows_in_all: int
    batch_size: int
    seed: int
    part: str = EVERY
    fraction: float = 0.0
    shuffle: bool = True
    block_rows: int = 8192
    window_blocks: int = 32

    @cached_property
    def rows(self) -> int:
        """Rows this plan uses in an epoch."""
        return int(self._rows_of_block.sum())

    @property
    def steps(self) -> int:
        """Global batches of an epoch; the last may be smaller than the others."""
        return -(-self.rows // self.batch_size)

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Ids]:
        """Yield the row ids of each global batch of `epoch` from `first_step` on: int64, shape (rows of the step,)."""
        order = self._order_of_blocks(epoch)
        ends = np.cumsum(self._rows_of_block[order])
        skip, size = first_step * self.batch_size, self.batch_size
        rest = np.empty(0, dtype=np.int64)
        for start in range(0, len(order), self.window_blocks):
            stop = min(start + self.window_blocks, len(order))
            before = int(ends[start - 1]) if start else 0
            if int(ends[stop - 1]) <= skip:
                continue
            window = self._window(epoch, start // self.window_blocks, order[start:stop])
            window = window[max(0, skip - before) :]
            if len(rest):
                missing = size - len(rest)
                rest, window = np.concatenate([rest, window[:missing]]), window[missing:]
                if len(rest) < size:
                    continue
                yield rest
            whole = len(window) // size * size
            yield from window[:whole].reshape(-1, size)
            rest = window[whole:].copy()  # a view would keep the window
            del window  # before the next one is made
        if len(rest):
            yield rest

    @property
    def _blocks(self) -> int:
        return -(-self.rows_in_all // self.block_rows)

    @cached_property
    def _rows_of_block(self) -> Ids:
        """Chosen rows of each block: int64, shape (blocks,)."""
        if self.part == EVERY or not self.fraction:
            sizes = np.full(self._blocks, self.block_rows, dtype=np.int64)
            if self._blocks:
                sizes[-1] = self.rows_in_all - (self._blocks - 1) * self.block_rows
            return sizes if self.part != VALIDATION else np.zeros_like(sizes)
        return np.array([len(self._ids_of_block(block)) for block in range(self._blocks)], dtype=np.int64)

    def _ids_of_block(self, block: int) -> Ids:
        first = block * self.block_rows
        ids = np.arange(first, min(first + self.block_rows, self.rows_in_all), dtype=np.int64)
        if self.part == EVERY:
            return ids
        # compare the high 53 bits, which a float holds exactly
        drawn = (keys(ids, _VALIDATION_DRAW, self.seed) >> np.uint64(11)) < np.uint64(int(self.fraction * 2**53))
        chosen: Ids = ids[drawn if self.part == VALIDATION else ~drawn]
        return chosen

    def _order_of_blocks(self, epoch: int) -> Ids:
        blocks = np.arange(self._blocks, dtype=np.int64)
        if not self.shuffle:
            return blocks
        ordered: Ids = blocks[np.argsort(keys(blocks, _ORDER_OF_BLOCKS, self.seed, epoch), kind="stable")]
        return ordered

    def _window(self, epoch: int, window: int, blocks: Ids) -> Ids:
        ids = np.concatenate([self._ids_of_block(int(block)) for block in blocks])
        if not self.shuffle:
            return ids
        # each key carries its own place in its low bits, so that one sort in place gives the order
        places = np.uint64((1 << len(ids).bit_length()) - 1)
        order = keys(ids, _ORDER_OF_ROWS, self.seed, epoch, window)
        order &= ~places
        order |= np.arange(len(ids), dtype=np.uint64)
        order.sort()
        order &= places
        ordered: Ids = ids[order.view(np.int64)]
        return ordered


def share(ids: Ids, rank: int, size: int) -> Ids:
    """Return the rows of a global batch that `rank` of `size` takes: contiguous, even to one row, every row once."""
    return ids[len(ids) * rank // size : len(ids) * (rank + 1) // size]


def rows_of_share(batch_size: int, size: int) -> int:
    """Rows of every rank's batch array, real rows and padding together.

    The largest share any rank can get of a whole global batch, so that the arrays of all steps have one shape.
    """
    return -(-batch_size // size)
