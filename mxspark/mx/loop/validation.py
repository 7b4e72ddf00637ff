"""Global metrics over the validation rows, every rank taking its share of every batch."""

from __future__ import annotations

from typing import Callable, Optional

from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.batches import GluonBatches
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.loop.step import Issued, count, forward
from mxspark.mx.model.network import Network
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state.finite import Finite


class Validation:
    """The validation rows of one rank, and what is counted over them."""

    def __init__(self, batches: GluonBatches, metrics: Metrics) -> None:
        self._batches = batches
        self._metrics = metrics

    def evaluate(
        self, network: Network, exchange: Exchange, beat: Callable[[], None], finite: Finite, when: str
    ) -> tuple[dict[str, float], list[str]]:
        """Return the metrics over all validation rows of all ranks, ``loss`` among them; the same bits on every rank.

        With them comes a line for each that has no value. The numbers of a batch are read while MXNet's engine is at
        work on the next.

        Raises
        ------
        Diverged
            If a loss or a metric is not finite; `when` says after which step.
        """
        self._metrics.reset()
        before: Optional[Issued] = None
        for batch in self._batches(epoch=0):
            if not batch.rows.real_rows:
                continue
            with training_code():
                outputs, losses = forward(network, batch)
                if before is not None:
                    count(self._metrics, before, finite, f"of the validation rows {when}")
            before = Issued(batch.rows, outputs, losses)
            beat()
        if before is not None:
            with training_code():
                count(self._metrics, before, finite, f"of the validation rows {when}")
        # Ranks without a row in any batch come here too: this is a call of all.
        total = exchange.sum(self._metrics.sums())
        return self._metrics.finish(total), self._metrics.without_value(total, f"the validation rows {when}")
