"""The metrics of an epoch of training, gathered at its checkpoints and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mxspark.job.spec import Component, WorkerSpec
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.arrays import Array
from mxspark.mx.loop.metrics import Metrics


class EpochMetrics:
    """Metrics of an epoch: what this rank has counted since it was last gathered, and what all had until then."""

    def __init__(self, spec: WorkerSpec, exchange: Exchange, metrics: Metrics) -> None:
        self.own = metrics
        self._names = [_identity(metric) for metric in spec.training.metrics]
        self._exchange = exchange
        self._gathered = np.zeros_like(self.own.sums())

    def gather(self) -> None:
        """Merge the sums of all ranks with those carried from earlier in the epoch: float64, the same on every rank."""
        of_all = self.own.merge(self._exchange.gather(self.own.sums()))
        self._gathered = self.own.merge(np.stack([self._gathered, of_all]))
        self.own.reset()

    def finish(self, when: str) -> tuple[dict[str, float], dict[str, str]]:
        """Return the values of the epoch, gathered before, and why some have none; begin the next.

        Raises
        ------
        Diverged
            If one is not finite; `when` says after which step.
        """
        gathered = self._gathered
        self._gathered = np.zeros_like(gathered)
        return self.own.finish(gathered), self.own.without_value(gathered, f"the training rows {when}")

    def running(self) -> dict[str, float]:
        """Return this rank's values since it was last gathered; nothing where no row was counted."""
        sums: Array = self.own.sums()
        return self.own.finish(sums) if sums[0] else {}

    def state(self) -> dict[str, Any]:
        """Return the sums so far, every bit of them."""
        # As hexadecimal text: exact, and a loss of NaN or infinity, which JSON has no number for, comes back too.
        return {"metrics": self._names, "sums": [float(value).hex() for value in self._gathered]}

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Go on counting where a checkpoint stood; False if the job now asks for other metrics."""
        if state["metrics"] != self._names or len(state["sums"]) != len(self._gathered):
            return False
        self._gathered = np.array([float.fromhex(value) for value in state["sums"]])
        return True


def _identity(metric: Component) -> Any:
    """Return as JSON what a metric counts: its name, with its options if it has some."""
    return [metric.name, dict(sorted(metric.options.items()))] if metric.options else metric.name
