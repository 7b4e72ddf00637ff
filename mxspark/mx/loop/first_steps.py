"""What the first steps show of a job that trains less than its user thinks: no error, but to be known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

import mxnet as mx
import numpy as np

from mxspark.mx.loop.arrays import Array
from mxspark.mx.loop.notes import Notes
from mxspark.mx.model.frozen import Trained

STEPS = 5
"""Enough for a layer that begins with zeros to let a gradient through to those before it."""
_SAME = 1e-9
_ASKED = (
    "does the loss depend on it, or does something stop the gradient on the way (BlockGrad, units that are always off)?"
)


class FirstSteps:
    """Looks at the gradients and losses of the first steps of a process, and then no more.

    Parameters
    ----------
    trained : Trained
        The parameters, by name.
    notes : Notes
        Told what is found.
    schedule : str, optional
        What says the learning rate of a step, for people.
    """

    def __init__(self, trained: Trained, notes: Notes, schedule: Optional[str] = None) -> None:
        self._trained = trained
        self._notes = notes
        self._schedule = schedule
        self._untouched = set(trained.names)
        self._looked = 0
        self._losses: set[float] = set()
        self._before: Optional[float] = None
        self._is_constant = False
        self._changes = 0  # of the loss, from epoch to epoch

    def look(self, gradients: Sequence[mx.nd.NDArray]) -> None:
        """Take the sums over all ranks of the gradients of a step; waits for them, so only for the first steps."""
        if self._looked >= STEPS:
            return
        for name, gradient in zip(self._trained.names, gradients):
            if name in self._untouched and gradient.asnumpy().any():
                self._untouched.discard(name)
        self._looked += 1
        if self._looked == STEPS:
            self._tell()

    def hear(self, losses: Array) -> None:
        """Take the losses of the rows of a step."""
        if self._looked < STEPS:
            self._losses.update(np.unique(losses).tolist()[:2])  # two tell that it is not constant

    def end_epoch(self, loss: float, rate: float) -> None:
        """Take the loss of an epoch and the learning rate at its end; what so few steps have shown is told now."""
        if 0 < self._looked < STEPS:
            self._tell()
            self._looked = STEPS
        same = self._before is not None and math.isclose(self._before, loss, rel_tol=_SAME)
        if same and not self._is_constant:  # one sentence on it is enough
            self._is_constant = True
            self._notes.add(self._why_the_same(loss, rate))
        self._changes += self._before is not None and not same
        self._before = loss

    def _why_the_same(self, loss: float, rate: float) -> str:
        seen = f"{loss:.6g} over all training rows, in two epochs in a row"
        if rate == 0:
            by = f"{self._schedule} has brought the learning rate to 0" if self._schedule else "the learning rate is 0"
            return f"the loss no longer changes: {seen}: {by}, and further epochs change nothing"
        if self._changes:
            return f"the loss no longer changes: {seen}: it has converged, and further epochs change nothing"
        return (
            f"the loss is constant: {seen}; nothing is learnt: it has converged before, the learning rate, "
            f"{rate:g}, is too small, or the loss does not depend on the network"
        )

    def _tell(self) -> None:
        first = "the first step" if self._looked == 1 else f"any of the first {self._looked} steps"
        if len(self._losses) == 1:
            (value,) = self._losses
            self._is_constant = True
            self._notes.add(
                f"the loss is constant: {value:.6g} for every row in {first}; does it depend on the network's output, "
                "and has that more than one class?"
            )
        without = [name for name in self._trained.names if name in self._untouched]
        if len(without) == len(self._trained.names):
            self._is_constant = True  # and why is said here
            if not self._trained.known.keys() >= set(without):
                self._notes.add(f"no parameter got a gradient in {first}: the loss does not depend on {self._all()}")
                return
        for name in without:
            why = self._trained.known.get(name, _ASKED)
            self._notes.add(f"parameter {name} got no gradient in {first}, so it is not trained: {why}")

    def _all(self) -> str:
        if not self._trained.frozen:
            return "the network"
        return f"what of the network is trained ({', '.join(self._trained.names)}); all else has grad_req 'null'"
