"""Labels of the loss ctc that no path through the steps of the network can spell, held against them before step 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mxspark.data.dataset import DataSet
from mxspark.data.reader import Array, SpooledRows
from mxspark.errors import DataError
from mxspark.job.spec import WorkerSpec
from mxspark.mx.model.ids import GetOn, data_sets

_ROWS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class Spelled:
    """How many rows have no class, have a -1 before a class, and need more steps than there are; the most they need."""

    empty: int = 0
    torn: int = 0
    too_long: int = 0
    most: int = 0

    def with_(self, labels: Array, steps: int) -> Spelled:
        """Take in more labels, shape (n, width), each padded with -1."""
        is_class = labels >= 0
        lengths = np.where(is_class.all(axis=1), labels.shape[1], is_class.argmin(axis=1))
        # between two that are the same there must be a blank
        twice = (labels[:, 1:] == labels[:, :-1]) & is_class[:, 1:]
        needed = lengths + twice.sum(axis=1)
        return Spelled(
            self.empty + int((lengths == 0).sum()),
            self.torn + int((is_class.sum(axis=1) != lengths).sum()),
            self.too_long + int((needed > steps).sum()),
            max(self.most, int(needed.max())),
        )


def check(spec: WorkerSpec, output: Sequence[int], rank: int, size: int, get_on: GetOn) -> None:
    """Refuse labels of which MXNet's ctc makes a loss of 0, or a number that means nothing.

    Parameters
    ----------
    output : sequence of int
        Shape of the network's output for one batch: rows, steps, classes.

    Raises
    ------
    DataError
        With how many rows of all there are, and what to do.
    """
    if len(output) != 3 or len(spec.labels) > 1:  # MXNet says what it takes; lengths are labels of an object of its
        return
    label, steps = spec.labels[0], output[1]
    width = (label.shape or (0,))[0]
    if width > steps:
        raise DataError(
            f"label {label.name!r} has {width} values in a row, padding included, but the network has {steps} steps, "
            "and MXNet's ctc takes no more values than steps: give the network more steps, or cut the padding"
        )
    for data in data_sets(spec):
        total = data.plan.rows_in_all
        share = _look(spec, data, range(total * rank // size, total * (rank + 1) // size), steps, get_on)
        if share.empty or share.torn or share.too_long:
            _refuse(label.name, _look(spec, data, range(total), steps, get_on), steps)


def has_zeros_for_padding(spec: WorkerSpec) -> bool:
    """Tell whether 0 stands in the first rows where ctc has -1: behind all other classes, and in no other place."""
    name, rows = spec.labels[0].name, min(_ROWS_AT_A_TIME, spec.training_data.plan.rows_in_all)
    labels = SpooledRows(spec.training_data, [name], spec.mapped_bytes).gather(np.arange(rows), [name])[name]
    is_zero = labels == 0
    is_inside = is_zero[:, :-1] & ~is_zero[:, 1:]
    is_behind = bool((labels >= 0).all() and not is_inside.any())
    return is_behind and bool(is_zero[:, -2:].all(axis=1).any()) and len(np.unique(is_zero.sum(axis=1))) > 1


def _look(spec: WorkerSpec, data: DataSet, rows: range, steps: int, get_on: GetOn) -> Spelled:
    name, found = spec.labels[0].name, Spelled()
    spooled = SpooledRows(data, [name], spec.mapped_bytes)
    for start in range(rows.start, rows.stop, _ROWS_AT_A_TIME):
        chunk = np.arange(start, min(start + _ROWS_AT_A_TIME, rows.stop), dtype=np.int64)
        found = found.with_(spooled.gather(chunk, [name])[name], steps)
        get_on(int(chunk[-1]) + 1 - rows.start, len(rows))
    return found


def _refuse(name: str, found: Spelled, steps: int) -> None:
    problems = {
        f"{found.empty:,} without a class, whose loss is a number without a meaning": found.empty,
        f"{found.torn:,} with a -1 before a class, which ends them there": found.torn,
        f"{found.too_long:,} that need up to {found.most} steps (one a class, and one between two that are the same), "
        f"where the network has {steps}, whose loss is 0": found.too_long,
    }
    listed = "; ".join(text for text, count in problems.items() if count)
    raise DataError(
        f"label {name!r} has rows that ctc cannot spell: {listed}: leave these rows out, put -1 behind the last class "
        "alone, or give the network more steps"
    )
