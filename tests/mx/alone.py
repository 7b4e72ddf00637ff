"""Exchanges without roles: of one worker that needs nobody, and of several in the threads of this process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mxspark.mx.exchange.base import EachUpdates, SumThroughTable


class Alone(EachUpdates):
    """All methods of `Exchange`, for a group of one in this process."""

    waited_s = None

    def __init__(self):
        self.rank, self.size = 0, 1

    def broadcast(self, parameters):
        """Nobody else is there."""

    def sum_gradients(self, parameters):
        return [parameter.grad() for parameter in parameters]

    def average(self, parameters):
        """A mean of one."""

    def gather(self, values):
        return values.reshape(1, -1)

    def close(self):
        """Nobody is left."""


class Together(SumThroughTable):
    """One of several workers that are threads: `gather` alone."""

    def __init__(self, rank, size, barrier, table):
        self.rank, self.size = rank, size
        self._barrier, self._table = barrier, table

    def gather(self, values):
        self._table[self.rank] = np.array(values)
        self._barrier.wait()
        gathered = np.stack([self._table[rank] for rank in range(self.size)])
        self._barrier.wait()
        return gathered


def together(size, work):
    """Return what `work(exchange)` returns on each of `size` workers, by rank."""
    barrier, table = threading.Barrier(size, timeout=60), {}
    with ThreadPoolExecutor(size) as threads:
        begun = [threads.submit(work, Together(rank, size, barrier, table)) for rank in range(size)]
        return [one.result() for one in begun]
