"""Several ranks in one process, one of which runs at a time: until it needs the others, or is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from mxspark.mx.exchange.base import EachUpdates

LIMIT_S = 300.0


class Gone(Exception):
    """Another rank has failed."""


class Turns:
    """Whose turn it is, and what the ranks have laid on the table in each round."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.change = threading.Condition()
        self.turn = 0
        self.errors: list[BaseException] = []
        self.tables: dict[int, list[Any]] = {}
        self.totals: dict[int, list[Any]] = {}

    def run(self, work: Callable[[TurnsExchange], Any]) -> list[Any]:
        """Return what `work` gives for the exchange of each rank; raise what the first to fail has raised."""
        results: list[Any] = [None] * self.size
        threads = [threading.Thread(target=self._one, args=(rank, work, results)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive(), "a rank did not end"
        if self.errors:
            raise self.errors[0]
        return results

    def _one(self, rank: int, work: Callable[[TurnsExchange], Any], results: list[Any]) -> None:
        try:
            self._wait(rank)
            results[rank] = work(TurnsExchange(self, rank))
        except Gone:
            return
        except BaseException as error:
            with self.change:
                self.errors.append(error)
                self.change.notify_all()
        else:
            self._pass_on(rank)

    def meet(self, rank: int, place: int, value: Any) -> list[Any]:
        """Lay a value on the table of a round and return those of all ranks, in order of rank."""
        table = self.tables.setdefault(place, [None] * self.size)
        table[rank] = value
        self.tables.pop(place - 2, None)
        self._pass_on(rank)
        self._wait(rank)
        return table

    def _pass_on(self, rank: int) -> None:
        with self.change:
            self.turn = (rank + 1) % self.size
            self.change.notify_all()

    def _wait(self, rank: int) -> None:
        with self.change:
            assert self.change.wait_for(lambda: self.turn == rank or self.errors, LIMIT_S), "a turn never came"
            if self.errors:
                raise Gone


class TurnsExchange(EachUpdates):
    """All methods of `Exchange` for one of the ranks."""

    waited_s = None

    def __init__(self, turns: Turns, rank: int) -> None:
        self.rank, self.size = rank, turns.size
        self._turns = turns
        self._round = 0

    def _meet(self, value: Any) -> list[Any]:
        self._round += 1
        return self._turns.meet(self.rank, self._round, value)

    def _copies(self, arrays: Sequence[Any]) -> list[list[Any]]:
        """Return copies of the arrays of all ranks: the next pass overwrites gradients where they lie."""
        return self._meet([array.asnumpy() for array in arrays])

    def broadcast(self, parameters: Sequence[Any]) -> None:
        first = self._copies([parameter.data() for parameter in parameters])[0]
        for parameter, value in zip(parameters, first):
            parameter.set_data(mx.nd.array(value, dtype=value.dtype))

    def sum_gradients(self, parameters: Sequence[Any]) -> list[Any]:
        every = self._copies([parameter.grad() for parameter in parameters])
        totals = [mx.nd.array(sum(arrays), dtype=arrays[0].dtype) for arrays in zip(*every)]
        self._turns.totals.pop(self._round - 2, None)
        # the very same arrays for all: so they lie in memory that the workers of a host share
        return self._turns.totals.setdefault(self._round, totals)

    def average(self, parameters: Sequence[Any]) -> None:
        every = self._copies([parameter.data() for parameter in parameters])
        for parameter, arrays in zip(parameters, zip(*every)):
            parameter.set_data(mx.nd.array(sum(arrays) / self.size, dtype=arrays[0].dtype))

    def gather(self, values: Any) -> Any:
        return np.array(self._meet(np.array(values, dtype=np.float64)))

    def close(self) -> None:
        """Nobody waits."""
