"""What a schedule of the user's returns, looked at before MXNet multiplies with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from mxspark.errors import TrainingCodeError
from mxspark.mx.model.components import describe


class Checked:
    """A schedule that gives learning rates and nothing else.

    Parameters
    ----------
    schedule : callable
        From the number of updates, the one that comes included, to what should be a learning rate.
    label : str
        What the user calls it.
    """

    def __init__(self, schedule: Callable[[int], Any], label: str) -> None:
        self._schedule = schedule
        self._label = label

    def __call__(self, step: int) -> Any:
        """Return the learning rate of an update.

        Raises
        ------
        TrainingCodeError
            If it is no number, not finite, or below 0.
        """
        rate = self._schedule(step)
        if isinstance(rate, Real) and 0 <= float(rate) < math.inf:
            return rate
        raise TrainingCodeError(
            f"training.schedule {self._label} returned {_described(rate)} for step {step}: return the learning rate, a "
            "number that is 0 or more"
        )


def _described(value: Any) -> str:
    return f"{value!r:.80}" if value is None or isinstance(value, (str, Real)) else describe(value)
