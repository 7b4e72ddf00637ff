"""Whether a loss is one value a row, made of that row alone: shapes that broadcast make it one of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import mxnet as mx
import numpy as np

from mxspark.errors import TrainingCodeError
from mxspark.mx.loop.other_rows import Made, Mixed, depends_on, flatten, made_of
from mxspark.mx.model import recorded


def require_one_value_a_row(losses: Any, outputs: Any, labels: Sequence[mx.nd.NDArray], rows: int) -> None:
    """Raise TrainingCodeError if a loss has not the shape (rows,)."""
    shape = losses.shape if isinstance(losses, mx.nd.NDArray) else None
    if shape == (rows,):
        return
    seen = f"a {_kind(losses)}" if shape is None else f"shape {shape}"
    if isinstance(losses, (np.ndarray, np.generic, float, int)):
        raise TrainingCodeError(
            f"the loss gave {seen}, through which no gradient flows back to the network: make it an NDArray, computed "
            "from those it is given with mxnet.nd (F in a hybrid_forward) and their own methods, without asnumpy(), "
            "numpy and float()"
        )
    mixed = Mixed.of(outputs, labels)
    if mixed is not None and mixed.shape == shape:
        raise TrainingCodeError(
            f"the loss gave {seen} for {rows} rows: {mixed}; write label.reshape(output.shape) in the loss, before "
            "anything else is done with the label"
        )
    raise TrainingCodeError(
        f"the loss gave {seen} for {rows} rows, where one value a row, shape ({rows},), is needed to tell "
        "apart rows that only pad a batch: reduce over every axis but the first"
    )


def _kind(losses: Any) -> str:
    name = type(losses).__name__
    return f"numpy.{name}" if isinstance(losses, (np.ndarray, np.generic)) else name


class RowwiseLoss:
    """A loss of the user's that is looked at in the first step: what it gives for a row, does it depend on others?

    A mean over the wrong axis of a broadcast has the shape of one value a row, and trains another model: it is refused.
    One that looks at other rows on purpose is another loss for every division of the rows, which is noted.

    Parameters
    ----------
    loss : callable
        From (output, *labels) to one value a row.
    labels : sequence of str
        What the labels are called.
    note : callable
        Is told a sentence for the user.
    """

    def __init__(self, loss: Callable[..., Any], labels: Sequence[str], note: Callable[[str], None]) -> None:
        self._loss = loss
        self._names = tuple(labels)
        self._note = note
        self._made = Made.UNKNOWN

    @property
    def is_random(self) -> bool:
        """Whether it draws random numbers, or that is not known yet."""
        return self._made in (Made.AT_RANDOM, Made.UNKNOWN)

    def __call__(self, outputs: Any, *labels: mx.nd.NDArray) -> Any:
        """Return what the loss gives.

        Raises
        ------
        TrainingCodeError
            If that is made of several rows by their shapes.
        """
        losses = self._loss(outputs, *labels)
        if self._made is Made.UNKNOWN and isinstance(losses, mx.nd.NDArray) and losses.ndim == 1:
            self._look(outputs, labels, len(losses))
        return losses

    def _look(self, outputs: Any, labels: Sequence[mx.nd.NDArray], rows: int) -> None:
        self._made = made_of(lambda some, others: self._loss(some, *others), outputs, labels)
        if self._made is Made.OF_OTHERS:
            self._refuse_broadcast(outputs, labels)
            self._note(
                f"the loss of a row depends on other rows of its batch: it is made of the {rows} that a worker has, "
                "those that only pad them included, and is another one with another number of workers or another "
                "training.batch_size"
            )
        elif self._made is Made.OF_ITS_ROW:
            self._look_for_unused(outputs, labels)

    def _look_for_unused(self, outputs: Any, labels: Sequence[mx.nd.NDArray]) -> None:
        for place, name in enumerate(self._names):
            if not depends_on(lambda *some: self._loss(outputs, *some), labels, place):
                self._note(
                    f"the loss does not depend on the label {name!r}: whatever the rows of the first step have for it, "
                    "it is the same"
                )

    def _refuse_broadcast(self, outputs: Any, labels: Sequence[mx.nd.NDArray]) -> None:
        mixed = Mixed.of(outputs, labels)
        if mixed is None:
            return
        given = {f"output{place}": array for place, array in enumerate(flatten(outputs))}
        others = {f"label{place}": array for place, array in enumerate(labels)}
        graph = recorded.graph_of(self._loss, given, others)
        shapes = {name: array.shape for name, array in (*given.items(), *others.items())}
        if graph is None or recorded.pairs_by_rank(graph, shapes, list(given)):
            raise TrainingCodeError(
                f"the loss of a row depends on other rows: {mixed}; write label.reshape(output.shape) in the loss, "
                "before anything else is done with the label, or output.reshape(label.shape) where it is to depend on "
                "them"
            )
