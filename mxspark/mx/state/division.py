"""How an update may be divided over the workers of a host: which optimizers look at one element at a time."""

from __future__ import annotations

from enum import Enum

import mxnet as mx

from mxspark.mx.state.kernels import Adamax, PlainSGD


class Division(Enum):
    """What one worker updates while the others update the rest."""

    ELEMENTS = "any part of what lies side by side: a value follows from what is kept of it alone"
    TENSORS = "whole parameters: a value follows from all of its parameter"
    NOTHING = "all of it, as every worker does: more than that is needed, or it is not known what"


# Classes as they are: one that is derived from them may do anything. docs/performance.md tells it to users.
_DIVISIONS: dict[type[mx.optimizer.Optimizer], Division] = {
    **dict.fromkeys(
        (
            PlainSGD,
            Adamax,
            *(mx.optimizer.SGD, mx.optimizer.NAG, mx.optimizer.Signum, mx.optimizer.DCASGD),
            *(mx.optimizer.Adam, mx.optimizer.AdaGrad, mx.optimizer.AdaDelta, mx.optimizer.RMSProp),
            *(mx.optimizer.Ftrl, mx.optimizer.FTML),
        ),
        Division.ELEMENTS,
    ),
    mx.optimizer.LAMB: Division.TENSORS,  # norms of a parameter
}
# Nadam counts its calls, LARS corrects momentum in the first of its calls with another rate, LBSGD gathers gradients of
# several steps, SGLD draws random numbers for one parameter after the other.


def division(optimizer: mx.optimizer.Optimizer) -> Division:
    """Return how updates of an optimizer may be divided."""
    return _DIVISIONS.get(type(optimizer), Division.NOTHING)
