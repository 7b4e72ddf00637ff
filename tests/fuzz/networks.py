"""Networks of the fuzz tests. The values they begin with follow from their layers alone, whoever builds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def network(inputs: Sequence[Sequence[Any]], outputs: int, hidden: bool, norm: bool = False) -> Callable[[], Any]:
    """Return a function that makes a network over all inputs.

    Parameters
    ----------
    inputs : sequence of (role, size)
        ``ids`` go through a table of so many rows, ``clipped`` ones are clipped to it first, ``numbers`` as they are.
    """

    def make() -> Any:
        import mxnet as mx
        import numpy as np
        from mxnet.gluon import nn

        class Fixed(mx.init.Initializer):  # type: ignore[misc]
            def __init__(self, place: int) -> None:
                super().__init__(place=place)
                self.place = place

            def _init_weight(self, _: str, array: Any) -> None:
                array[:] = np.random.RandomState(self.place).uniform(-0.5, 0.5, array.shape)

        class Net(mx.gluon.HybridBlock):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(prefix="fuzz_")
                with self.name_scope():
                    self.tables = []
                    for place, (role, size) in enumerate(inputs):
                        table = nn.Embedding(size, 2, weight_initializer=Fixed(place)) if role != "numbers" else None
                        self.tables.append(table)
                        if table is not None:
                            setattr(self, f"table{place}", table)
                    self.hidden = (
                        nn.Dense(4, "tanh", weight_initializer=Fixed(11), bias_initializer=Fixed(13))
                        if hidden
                        else None
                    )
                    self.norm = nn.BatchNorm() if norm else None
                    self.out = nn.Dense(outputs, weight_initializer=Fixed(12), bias_initializer=Fixed(14))

            def hybrid_forward(self, F: Any, *given: Any) -> Any:
                parts = []
                for (role, size), table, x in zip(inputs, self.tables, given):
                    x = F.clip(x, 0, size - 1) if role == "clipped" else x
                    x = table(x) if table is not None else F.cast(x, "float32")
                    parts.append(F.reshape(x, (0, -1)))
                x = F.concat(*parts, dim=1) if len(parts) > 1 else parts[0]
                for layer in (self.hidden, self.norm, self.out):
                    x = layer(x) if layer is not None else x
                return x

        return Net()

    return make
