"""Whether what a network makes of a row depends on the rows beside it, told by a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mxnet as mx
import numpy as np

from mxspark.mx.loop.other_rows import Made, made_of
from mxspark.mx.model.network import Network

#: Of all parameters: they are copied, for an inference would leave convolution weights in another layout.
_LIMIT_BYTES = 256 << 20


def mixes_rows(network: Network, inputs: Sequence[mx.nd.NDArray]) -> bool:
    """Tell whether a network mixes rows when it is used; BatchNorm and Dropout do so in training alone.

    Of a network that is very large, or whose parameters are all zeros, nothing is known.

    Parameters
    ----------
    inputs : sequence of NDArray
        Rows of each input of the network, in order.
    """
    arrays = {parameter.name: parameter.data() for parameter in network.parameters.values()}
    if sum(array.size * np.dtype(array.dtype).itemsize for array in arrays.values()) > _LIMIT_BYTES:
        return False
    run = mx.nd.CachedOp(network.symbol)
    copies = {name: array.copy() for name, array in arrays.items()}

    def outputs(some: Any, _: Any) -> Any:
        fed = {**copies, **dict(zip(network.input_shapes, some))}
        found = run(*(fed[name] for name in network.symbol.list_inputs()))
        flat = [array.asnumpy().reshape(len(array), -1) for array in (found if isinstance(found, list) else [found])]
        return np.concatenate(flat, axis=1)

    return made_of(outputs, list(inputs), []) is Made.OF_OTHERS
