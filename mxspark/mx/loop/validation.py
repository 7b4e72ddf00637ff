"""Global metrics over the validation rows, every rank taking its share of every batch."""

from __future__ import annotations

import math
from typing import Callable, Optional

from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.batches import GluonBatches
from mxspark.mx.loop.metrics import Metrics, why_not
from mxspark.mx.loop.step import Issued, count, forward, real
from mxspark.mx.loop.whole import WholeMetrics
from mxspark.mx.model.network import Network
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state.finite import Finite


class Validation:
    """The validation rows of one rank, and what is counted over them.

    Parameters
    ----------
    metrics, whole : Metrics, WholeMetrics
        Those from sums, and those from all rows at once.
    """

    def __init__(self, batches: GluonBatches, metrics: Metrics, whole: WholeMetrics) -> None:
        self._batches = batches
        self._metrics = metrics
        self._whole = whole

    def evaluate(
        self, network: Network, exchange: Exchange, beat: Callable[[], None], finite: Finite, when: str
    ) -> tuple[dict[str, float], dict[str, str]]:
        """Return the metrics over all validation rows of all ranks, ``loss`` among them; the same bits on every rank.

        With them comes why some have no value, by their names. The numbers of a batch are read while MXNet's engine is
        at work on the next.

        Raises
        ------
        InputError, Diverged
            If an output is not what the loss is told it is, or a loss or a metric is not finite; `when` says after
            which step.
        """
        self._metrics.reset()
        self._whole.reset()
        with network.private_values():
            self._pass(network, beat, finite, when)
        # Ranks without a row in any batch come here too: these are calls of all.
        total = self._metrics.merge(exchange.gather(self._metrics.sums()))
        rows = f"the validation rows {when}"
        whole = self._whole.finish(exchange, rows)
        undefined = {name: why_not(value) for name, value in whole.items() if not math.isfinite(value)}
        return {**self._metrics.finish(total), **whole}, {**self._metrics.without_value(total, rows), **undefined}

    def _pass(self, network: Network, beat: Callable[[], None], finite: Finite, when: str) -> None:
        before: Optional[Issued] = None
        for batch in self._batches(epoch=0):
            if not batch.rows.real_rows:
                continue
            with training_code():
                outputs, losses = forward(network, batch)
                if before is not None:
                    self._count(network, before, finite, when)
            before = Issued(batch.rows, outputs, losses)
            beat()
        if before is not None:
            with training_code():
                self._count(network, before, finite, when)

    def _count(self, network: Network, issued: Issued, finite: Finite, when: str) -> None:
        count(network.meant, self._metrics, issued, finite, f"of the validation rows {when}")
        if self._whole:
            self._whole.add(issued.batch.ids, *real(issued))
