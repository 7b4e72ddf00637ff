"""What each worker of a host updates, so that every value is updated once: pure decisions.

The idea is that of ZeRO (Rajbhandari et al., 2020, arXiv:1910.02054), inside one host, where it needs no traffic.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from mxspark.mx.exchange.shared_memory import ALIGNMENT, Place, Run
from mxspark.mx.state.division import Division


@dataclass(frozen=True)
class Trained:
    """A parameter that takes a gradient.

    Attributes
    ----------
    index : int
        Its number for the optimizer.
    place : Place
        Where it lies.
    factors : hashable
        What must be equal for parameters that are updated together.
    """

    index: int
    place: Place
    factors: Hashable

    @property
    def stop(self) -> int:
        """The byte after it and what pads it."""
        return self.place.offset + -(-self.place.nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Piece:
    """What is updated at once: `place`, flat or a whole parameter, of which `index` is that of the first parameter."""

    index: int
    place: Place

    @property
    def run(self) -> Run:
        """What of the totals is needed for it."""
        return Run(self.place.offset, self.place.offset + self.place.nbytes, self.place.dtype)


def pieces(
    trained: Sequence[Trained], runs: Sequence[Run], division: Division, place: int, of: int
) -> tuple[Piece, ...]:
    """Return what the worker at `place` of so many updates."""
    if division is Division.ELEMENTS:
        return tuple(piece for run in runs for piece in _elements(trained, run.share(place, of)))
    owners = _owners(trained, of)
    return tuple(Piece(one.index, one.place) for one in trained if owners[one.index] == place)


def _elements(trained: Sequence[Trained], share: Run) -> Iterator[Piece]:
    """Yield as few pieces as there are changes of factors within a share."""
    inside = [one for one in trained if one.place.offset < share.stop and one.stop > share.start]
    size = _size(share.dtype)
    for _, group in groupby(sorted(inside, key=lambda one: one.place.offset), lambda one: one.factors):
        members = list(group)
        start, stop = max(share.start, members[0].place.offset), min(share.stop, members[-1].stop)
        yield Piece(members[0].index, Place(start, ((stop - start) // size,), share.dtype))


def _owners(trained: Sequence[Trained], of: int) -> dict[int, int]:
    """Give each parameter to the worker who has least, the largest first."""
    load = [0] * of
    owners = {}
    for one in sorted(trained, key=lambda one: (-one.place.nbytes, one.index)):
        owners[one.index] = load.index(min(load))
        load[owners[one.index]] += one.place.nbytes
    return owners


def _size(dtype: str) -> int:
    return Place(0, (1,), dtype).nbytes
