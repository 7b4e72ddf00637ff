"""Global metrics over the validation rows, every rank taking its share of every batch."""

from __future__ import annotations

from typing import Callable, Optional

import mxnet as mx

from mxspark.data.reader import Batch
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.batches import GluonBatches
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.loop.step import count, forward
from mxspark.mx.model.network import Network
from mxspark.mx.runtime.attribution import training_code


class Validation:
    """The validation rows of one rank, and what is counted over them."""

    def __init__(self, batches: GluonBatches, metrics: Metrics) -> None:
        self._batches = batches
        self._metrics = metrics

    def evaluate(self, network: Network, exchange: Exchange, beat: Callable[[], None]) -> dict[str, float]:
        """Return the metrics over all validation rows of all ranks, ``loss`` among them; the same bits on every rank.

        The numbers of a batch are read while MXNet's engine is at work on the next.
        """
        self._metrics.reset()
        before: Optional[tuple[Batch, list[mx.nd.NDArray], mx.nd.NDArray]] = None
        for batch in self._batches(epoch=0):
            if not batch.rows.real_rows:
                continue
            with training_code():
                outputs, losses = forward(network, batch)
                if before is not None:
                    count(self._metrics, *before)
            before = batch.rows, outputs, losses
            beat()
        if before is not None:
            with training_code():
                count(self._metrics, *before)
        # Ranks without a row in any batch come here too: this is a call of all.
        return self._metrics.finish(exchange.sum(self._metrics.sums()))
