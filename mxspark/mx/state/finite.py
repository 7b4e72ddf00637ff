"""NaN and infinity: found before anything is made of them, and told with where they are and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt
from mxnet import gluon

from mxspark.errors import Diverged
from mxspark.mx.state.optimizer import Updater

Array = npt.NDArray[Any]


def is_finite(value: Array) -> bool:
    """A sum is finite only if all its parts are, and four times quicker than looking at each."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(value.sum()) or np.isfinite(value).all())


def bad(arrays: Mapping[str, mx.nd.NDArray]) -> list[str]:
    """Return the names of those that hold NaN or infinity, in their order."""
    return [name for name, array in arrays.items() if not is_finite(array.asnumpy())]


def may_change(params: Mapping[str, gluon.Parameter]) -> dict[str, gluon.Parameter]:
    """Return all but the constants of a network, which may be infinite on purpose: a mask of attention is."""
    return {name: param for name, param in params.items() if not isinstance(param, gluon.Constant)}


def listed(what: str, names: Sequence[str]) -> str:
    """Return the first of some names and how many there are.

    >>> listed("parameter", ["0.weight", "0.bias", "1.weight"])
    'parameter 0.weight and 2 more are not finite'
    """
    if len(names) == 1:
        return f"{what} {names[0]} is not finite"
    return f"{what} {names[0]} and {len(names) - 1} more are not finite"


class Finite:
    """Looks at what training leaves behind, and ends it where that is not finite.

    Parameters
    ----------
    params : mapping of str to gluon.Parameter
        Of the network, in its order.
    updater : Updater
        Knows the learning rate.
    """

    def __init__(self, params: Mapping[str, gluon.Parameter], updater: Updater) -> None:
        self._params = may_change(params)
        self._updater = updater

    def check_loss(self, loss: Array, outputs: Sequence[mx.nd.NDArray], when: str) -> None:
        """Raise if a row's loss is not finite; `outputs` are what it was computed from, `when` says of which step.

        Raises
        ------
        Diverged
            Naming the learning rate, the first parameter that is not finite by now, and what to try.
        """
        # at each step: three microseconds, where a guarded look takes ten
        if math.isfinite(np.add.reduce(loss, dtype=np.float64)) or is_finite(loss):
            return
        rows = np.flatnonzero(~np.isfinite(loss))
        raise Diverged(
            f"the loss became {loss[rows[0]]} {when}, for {len(rows)} of {len(loss)} rows of this worker, at the "
            f"learning rate {self._updater.learning_rate:g}; {self._origin(outputs)}: lower the learning rate, let "
            "training.schedule warm up, set the optimizer's clip_gradient, or look for extreme values in the data and "
            "for a division by zero or its logarithm in network and loss"
        )

    def check_parameters(self, when: str) -> None:
        """Raise if a parameter is not finite: a layer such as relu may hide it from the loss.

        Raises
        ------
        Diverged
            As above.
        """
        names = self._bad()
        if names:
            raise Diverged(
                f"{listed('parameter', names)} {when}, at the learning rate {self._updater.learning_rate:g}, and "
                "nothing was made of it: lower the learning rate, let training.schedule warm up, set the optimizer's "
                "clip_gradient, or look for extreme values in the data and in what the parameters begin with"
            )

    def _origin(self, outputs: Sequence[mx.nd.NDArray]) -> str:
        names = self._bad()
        if names:
            return f"by now {listed('parameter', names)}, of {len(self._params)} in the order of the network"
        if not all(is_finite(output.asnumpy()) for output in outputs):
            return "the network's output is not finite, though all its parameters are"
        return "the network's parameters and outputs are finite, so it is the loss itself"

    def _bad(self) -> list[str]:
        return bad({name: param.list_data()[0] for name, param in self._params.items()})
