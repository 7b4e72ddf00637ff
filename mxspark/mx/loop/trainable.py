"""The seams of training: what a worker runs, what that trains, and what of it a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Callable, Protocol

from mxspark.job.spec import Restore
from mxspark.mx.state.checkpoint_writer import Snapshot
from mxspark.protocol import events


class Loop(Protocol):
    """One attempt at training, on one rank."""

    @property
    def step(self) -> int:
        """Steps that are done, for whoever reports what went wrong after them."""

    def run(self) -> events.Done:
        """Train to the end; returns what to report once the exchange may be closed."""


class Stateful(Protocol):
    """What a checkpoint holds."""

    def state(self, meta: Mapping[str, Any]) -> Snapshot:
        """Return a copy of all that resuming needs, and `meta`; training may go on at once."""

    def restore(self, restore: Restore) -> Mapping[str, Any]:
        """Go on from a checkpoint; returns the `meta` that :meth:`state` was given, and more."""


class Trainable(Stateful, Protocol):
    """What is trained: data, a network, its update and metrics, on one rank.

    Attributes
    ----------
    steps_per_epoch, rows_per_epoch : int
        Of all ranks together.
    size : int
        Number of trained values.
    done, rows : int
        Steps whose numbers are known, since the start of the job; real rows of this rank in those of this process.
    waited_s : float
        Seconds this rank has waited for rows.
    graph : tuple of str
        What the network computes; empty where that is not known.
    factors : dict of str to str
        What the parameters say beside that: how fast each learns, and what it begins with.
    """

    @property
    def steps_per_epoch(self) -> int:
        """As above."""

    @property
    def rows_per_epoch(self) -> int:
        """As above."""

    @property
    def size(self) -> int:
        """As above."""

    @property
    def done(self) -> int:
        """As above."""

    @property
    def rows(self) -> int:
        """As above."""

    @property
    def waited_s(self) -> float:
        """As above."""

    @property
    def graph(self) -> tuple[str, ...]:
        """As above."""

    @property
    def factors(self) -> dict[str, str]:
        """As above."""

    def broadcast(self) -> None:
        """Give every rank the values of rank 0."""

    def batches(self, epochs: range, first_step: int) -> Iterator[Any]:
        """Yield the batches of some epochs, from a step of the first on."""

    def step(self, batch: Any) -> None:
        """Make one step; its numbers may be known later."""

    def settle(self) -> None:
        """Have the numbers of all steps known, so that all counts are of the same step, and all values too."""

    def gather(self) -> None:
        """Bring together, over all ranks, what each has counted and averaged by itself; after :meth:`settle`."""

    def metrics(self) -> dict[str, float]:
        """Return this rank's metrics since the epoch began or was last gathered."""

    def end_epoch(self, beat: Callable[[str], None]) -> dict[str, dict[str, float]]:
        """Return the metrics of all ranks, ``training`` and ``validation`` (empty without such rows); after gather."""

    def notes(self) -> list[str]:
        """Return what has been noticed since the last call, is no error and should be known; rank 0 has it all."""

    def digest(self) -> str:
        """Return a hash of all values: equal on two ranks only if every bit is; raises where one is not finite."""

    def write_model(self, folder: str, kind: str, step: int, epoch: int) -> events.Staged:
        """Write what leaves training into a new folder."""
