"""One training step, and the numbers it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import autograd

from mxspark.data.reader import Array, Batch
from mxspark.errors import InputError
from mxspark.job import ends
from mxspark.job.spec import Component
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.batches import GluonBatch, to_ndarray
from mxspark.mx.loop.first_steps import FirstSteps
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.loop.other_rows import flatten
from mxspark.mx.loop.rowwise import RowwiseLoss, require_one_value_a_row
from mxspark.mx.model.network import Network, seed_step
from mxspark.mx.runtime.attribution import training_code
from mxspark.mx.state.finite import Finite
from mxspark.mx.state.optimizer import Updater


def forward(network: Network, batch: GluonBatch) -> tuple[list[mx.nd.NDArray], mx.nd.NDArray]:
    """Return the network's outputs and one loss a row, shape (local_rows,)."""
    outputs = network.block(*batch.inputs)
    losses = network.loss(outputs, *batch.labels)
    require_one_value_a_row(losses, outputs, batch.labels, batch.inputs[0].shape[0])
    return flatten(outputs), losses


@dataclass(frozen=True)
class Issued:
    """A batch whose forward pass MXNet's engine has been given, and what will come of it."""

    batch: Batch
    outputs: list[mx.nd.NDArray]
    losses: mx.nd.NDArray


def count(loss: Component, metrics: Metrics, issued: Issued, finite: Finite, when: str) -> Array:
    """Add the real rows of a batch to the metrics, and return their losses; waits for the forward pass.

    Raises
    ------
    InputError
        If the output is not what an option of the loss says; first, as the loss may have no value then.
    Diverged
        If the loss of a row is not finite; `when` says of which step. Before metrics of the user's see that row.
    """
    batch = issued.batch
    _require_declared(loss, issued, when)
    losses: Array = issued.losses.asnumpy()[: batch.real_rows]
    finite.check_loss(losses, issued.outputs, when)
    in_loss = None if batch.weights is None else batch.weights.in_loss[: batch.real_rows]
    metrics.add(losses, *real(issued), in_loss)
    return losses


def _require_declared(loss: Component, issued: Issued, when: str) -> None:
    if not ends.has_range(loss) or not issued.batch.real_rows:
        return
    output = issued.outputs[0].asnumpy()[: issued.batch.real_rows]
    problem = ends.beyond(loss, output.min(), output.max(), when)
    if problem is not None:
        raise InputError(problem)


def real(issued: Issued) -> tuple[list[Array], list[Array], Optional[Array]]:
    """Return outputs, labels and what each row counts, without the rows that only pad a batch.

    Rows are the first axis: see `row_axis`.
    """
    rows = slice(0, issued.batch.real_rows)
    weights = None if issued.batch.weights is None else issued.batch.weights.in_metrics
    outputs = [array.asnumpy()[rows] for array in issued.outputs]
    return outputs, [array[rows] for array in issued.batch.labels], None if weights is None else weights[rows]


class Stepper:
    """Steps of training, issued to MXNet's engine one ahead of the step whose numbers are read.

    Attributes
    ----------
    done : int
        Steps whose numbers have been read, since the start of the job.
    rows : int
        Real rows of this rank in them, since the start of this process.
    """

    def __init__(
        self, network: Network, exchange: Exchange, updater: Updater, metrics: Metrics, *, seed: int, first: FirstSteps
    ) -> None:
        self.done = 0
        self.rows = 0
        self._network = network
        self._exchange = exchange
        self._metrics = metrics
        self._seed = seed
        self._finite = Finite(network.parameters, updater)
        self._first = first
        self._issued: Optional[Issued] = None

    def step(self, batch: GluonBatch) -> None:
        """Issue one step, then read the numbers of the one before while the engine works."""
        network = self._network
        before, step = self._issued, self.done + (self._issued is not None)
        if network.is_random or (isinstance(network.loss, RowwiseLoss) and network.loss.is_random):
            seed_step(self._seed, step, self._exchange.rank)
        with training_code():
            with autograd.record():
                outputs, losses = forward(network, batch)
            losses.backward(_row_weights(batch.rows, losses))
            _clear_stale(network.trained)
        self._issued = Issued(batch.rows, outputs, losses)
        self._read(before)  # the engine is at work on this step meanwhile
        self._first.look(self._exchange.step(batch.rows.global_rows))

    def settle(self) -> None:
        """Read the numbers of the step still out, so that all counts are of the same step, and all values too."""
        before, self._issued = self._issued, None
        self._read(before)
        mx.nd.waitall()  # BatchNorm's backward changes its statistics unknown to the engine: who reads them must wait

    def _read(self, issued: Optional[Issued]) -> None:
        if issued is None:
            return
        with training_code():
            losses = count(self._network.meant, self._metrics, issued, self._finite, f"at step {self.done + 1}")
        self._first.hear(losses)
        self.done += 1
        self.rows += issued.batch.real_rows


def _clear_stale(trained: Sequence[Any]) -> None:
    """Set gradients of parameters the loss did not depend on to what they are: zero. MXNet leaves those of before."""
    for parameter in trained:
        data = parameter.data()
        if data._fresh_grad:
            data._fresh_grad = False
        else:
            parameter.zero_grad()


def _row_weights(batch: Batch, losses: mx.nd.NDArray) -> Optional[mx.nd.NDArray]:
    """Return the weight of each row's loss: 1 for a real row, 0 for padding; None where all are real.

    Weights of the user's are divided by their mean over the whole step. The update divides by its rows, which makes it
    the sum of weight times loss over the sum of the weights; gradients have the size of those of rows that all count
    the same, whatever the unit of the weights. In a step in which no row counts all gradients are zero.
    """
    rows = losses.shape[0]
    if batch.weights is not None:
        shares = batch.weights.in_loss / (batch.weights.mean or 1.0)
        return to_ndarray(shares.astype(losses.dtype))
    if batch.real_rows == rows:
        return None
    weights: Array = (np.arange(rows) < batch.real_rows).astype(losses.dtype)
    return mx.nd.array(weights, dtype=weights.dtype)
