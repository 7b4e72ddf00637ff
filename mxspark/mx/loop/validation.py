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


def evaluate(
    network: Network, batches: GluonBatches, metrics: Metrics, exchange: Exchange, beat: Callable[[], None]
) -> dict[str, float]:
    """Return the metrics over all validation rows of all ranks, ``loss`` among them; the same bits on every rank."""
    metrics.reset()
    before: Optional[tuple[Batch, list[mx.nd.NDArray], mx.nd.NDArray]] = None
    for batch in batches(epoch=0):
        if not batch.rows.real_rows:
            continue
        with training_code():
            outputs, losses = forward(network, batch)
            if before is not None:
                count(metrics, *before)
        before = batch.rows, outputs, losses
        beat()
    if before is not None:
        with training_code():
            count(metrics, *before)
    return metrics.finish(exchange.sum(metrics.sums()))
