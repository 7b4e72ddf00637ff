"""Values of parameters and the optimizer's state in memory that the workers of a host share, each updating its share.

They change between two meetings of a step and at no other time, so everybody may read them without a lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mxnet as mx
import numpy as np

from mxspark.errors import InternalError, TrainingCodeError
from mxspark.mx.exchange import shares
from mxspark.mx.exchange.shared_memory import ALIGNMENT, Layout, Place, Run
from mxspark.mx.state.leaves import flatten, rebuild
from mxspark.mx.state.optimizer import Target, Updater

if TYPE_CHECKING:
    from mxnet.gluon import Parameter
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Plan:
    """Where values and state lie behind the totals.

    Attributes
    ----------
    values : int
        Where the values begin, in bytes.
    leaves : dict of str to tuple
        For each dtype of values the arrays that the optimizer keeps of them: where each begins, and its dtype.
    nbytes : int
        Of all, totals included.
    """

    values: int
    leaves: Mapping[str, tuple[tuple[int, str], ...]]
    nbytes: int

    @classmethod
    def of(cls, layout: Layout, kinds: Mapping[str, Sequence[str]]) -> Plan:
        """Plan for an optimizer that keeps arrays of the types `kinds` for each dtype of values."""
        at = 2 * layout.nbytes
        leaves: dict[str, tuple[tuple[int, str], ...]] = {}
        for run in layout.trained:
            found = []
            for kind in kinds[run.dtype]:
                found.append((at, kind))
                at += _lines((run.stop - run.start) // _size(run.dtype) * _size(kind))
            leaves[run.dtype] = tuple(found)
        return cls(layout.nbytes, leaves, at)

    def kept(self, memory: Any, place: Place, runs: Sequence[Run]) -> list[NDArray[Any]]:
        """Return the optimizer's arrays for what lies at `place` among the values, in its shape."""
        run = next(run for run in runs if run.dtype == place.dtype)
        first = (place.offset - run.start) // _size(place.dtype)
        return [
            Place(start + first * _size(kind), place.shape, kind).view(memory)
            for start, kind in self.leaves[place.dtype]
        ]


def kinds(updater: Updater, layout: Layout, index_of: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the types of the arrays that an optimizer keeps, for each dtype of values."""
    found: dict[str, tuple[str, ...]] = {}
    for name, place in layout.places.items():
        if name in index_of and place.dtype not in found:
            state = updater.new_state(index_of[name], mx.nd.zeros((1, 1), dtype=place.dtype))
            found[place.dtype] = tuple(np.dtype(array.dtype).name for array in flatten("", state).values())
    return found


class SharedArray(mx.nd.NDArray):  # type: ignore[misc]
    """Values that all workers of a host compute with; the update does not come this way."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        """Raise TrainingCodeError: the others would compute with half of what is written."""
        raise TrainingCodeError(
            "the network or the loss sets the values of a parameter, which all workers of a host share: only an update "
            "may change them. Make it a part of the network, F.clip(weight, ...) where the weight is used, or of an "
            "optimizer of your own, or set training.exchange: kvstore, where each worker has values of its own"
        )


class SharedValues:
    """The values of a host.

    Parameters
    ----------
    memory : buffer
        Of `plan.nbytes`, the totals in front.
    trained : mapping of int to gluon.Parameter
        Those that take a gradient, by their number for the optimizer.
    """

    def __init__(self, layout: Layout, plan: Plan, memory: Any, trained: Mapping[int, Parameter]) -> None:
        self._layout = layout
        self._plan = plan
        self._memory = memory
        self._trained = trained

    def pieces(self, updater: Updater, place: int, of: int) -> tuple[shares.Piece, ...]:
        """Return what the worker at `place` of so many updates."""
        known = [
            shares.Trained(index, self._layout.places[parameter.name], updater.factors(index))
            for index, parameter in self._trained.items()
        ]
        return shares.pieces(known, self._layout.trained, updater.division, place, of)

    def write(self, updater: Updater) -> None:
        """Write this worker's values and, if it goes on from a checkpoint, its state where all will have theirs."""
        for index, parameter in self._trained.items():
            place = self._layout.places[parameter.name]
            place.view(self._memory, self._plan.values)[...] = parameter.data().asnumpy()
            for array, kept in zip(updater.restored(index), self._kept(place)):
                kept[...] = array.asnumpy()

    def move(self) -> None:
        """Let all parameters have their values here; gradients are attached to them anew after that."""
        for parameter in self._trained.values():
            value = in_place(self._layout.places[parameter.name].view(self._memory, self._plan.values))
            value.__class__, value.writable = SharedArray, False
            parameter._data = [value]

    def divide(self, updater: Updater, pieces: Sequence[shares.Piece]) -> None:
        """Let this worker update its share from now on."""
        targets = [self._target(updater, piece) for piece in pieces]
        kept: dict[str, mx.nd.NDArray] = {}
        for index, parameter in self._trained.items():
            place = self._layout.places[parameter.name]
            names = flatten(str(index), updater.new_state(index, mx.nd.zeros((1, 1), dtype=place.dtype)))
            kept.update(zip(names, map(in_place, self._kept(place))))
        updater.divide(targets, kept)

    def _target(self, updater: Updater, piece: shares.Piece) -> Target:
        weight = in_place(piece.place.view(self._memory, self._plan.values))
        made = updater.new_state(piece.index, weight)
        names = flatten("", made)
        arrays = dict(zip(names, map(in_place, self._kept(piece.place))))
        if not updater.restored(piece.index):
            for name, array in names.items():
                _require_same(array, arrays[name])
                array.copyto(arrays[name])
        return Target(piece.index, weight, in_place(piece.place.view(self._memory)), rebuild("", made, arrays))

    def _kept(self, place: Place) -> list[NDArray[Any]]:
        return self._plan.kept(self._memory, place, self._layout.trained)


def in_place(view: NDArray[Any]) -> mx.nd.NDArray:
    """Return an NDArray that is this numpy array, not a copy of it."""
    array = mx.nd.from_numpy(view, zero_copy=True)
    _require_same(array, view)
    return array


def _require_same(one: Any, other: Any) -> None:
    if one.shape != other.shape or np.dtype(one.dtype) != np.dtype(other.dtype):
        raise InternalError(f"an array of shape {one.shape} and {one.dtype} became {other.shape} and {other.dtype}")


def _size(dtype: str) -> int:
    return int(np.dtype(dtype).itemsize)


def _lines(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
