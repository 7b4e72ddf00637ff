"""What rows count: by a column of their own, by the class of their label, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class RowWeights:
    """What the rows of one rank's batch count.

    Attributes
    ----------
    in_loss : numpy float64, shape (local_rows,)
        In the loss, by column and class; 0 for a row that only pads.
    in_metrics : numpy float64, shape (local_rows,), or None
        In every other metric, by column alone; None where all count the same.
    mean : float
        Of `in_loss` over the real rows of the step on all ranks; the same on every rank.
    """

    in_loss: Array
    in_metrics: Optional[Array]
    mean: float


@dataclass(frozen=True)
class Weighing:
    """How the rows of a job are weighed.

    Attributes
    ----------
    column : str or None
        Array of the rows' own weights.
    label : str or None
        Array of classes, one a row.
    classes : tuple of (int, float)
        Class and weight; of a class that is not there it is 1.
    """

    column: Optional[str] = None
    label: Optional[str] = None
    classes: tuple[tuple[int, float], ...] = ()

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that it takes; none where all rows count the same."""
        return tuple(name for name in (self.column, self.label) if name is not None)

    def in_metrics(self, rows: Mapping[str, Array]) -> Optional[Array]:
        """Return the rows' own weights: float64, shape (n,); None where they have none."""
        return None if self.column is None else rows[self.column].reshape(-1).astype(np.float64)

    def in_loss(self, rows: Mapping[str, Array]) -> Array:
        """Return the rows' own weights times those of their classes: float64, shape (n,)."""
        own = self.in_metrics(rows)
        if self.label is None:
            assert own is not None
            return own
        labels = rows[self.label].reshape(-1)
        classes = np.array([number for number, _ in sorted(self.classes)], dtype=np.float64)
        weights = np.array([weight for _, weight in sorted(self.classes)], dtype=np.float64)
        place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        of_class: Array = np.where(classes[place] == labels, weights[place], 1.0)
        return of_class if own is None else own * of_class


UNWEIGHED = Weighing()
