"""Scales of labels that make others of them: of the index of a class another class, of 1 a small probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

from mxspark.data.spool import ColumnSpec
from mxspark.job import losses
from mxspark.job.losses import Seen, Takes
from mxspark.job.spec import Component

_CLOSE = 1e-3
"""A label may be float16."""


def problems(loss: Component, metrics: Sequence[Component], labels: Sequence[ColumnSpec]) -> list[str]:
    """Return which labels have a scale and say the index of a class, a line each."""
    found = []
    for place, label in enumerate(labels):
        reason = _reason(losses.takes(loss) if place == 0 else None, loss, _metrics_of(place, metrics), label)
        if label.scale != 1.0 and reason is not None:
            found.append(
                f"data.label.{label.name}.scale: is {label.scale:g}, but {reason}, and a scale makes other classes of "
                "them; leave it out, and where the column holds something else make one of the indices"
            )
    return found


def needless(loss: Component, label: ColumnSpec, found: Optional[Seen]) -> Optional[str]:
    """Return that a label was what a loss takes, up to 1, before its scale made something else of it; None if not."""
    takes = losses.takes(loss)
    if takes is None or takes.high != 1.0 or found is None or label.scale == 1.0:
        return None
    if not math.isclose(found.high, label.scale, rel_tol=_CLOSE):
        return None
    key = f"data.label.{label.name}.scale"
    return (
        f"label {label.name!r} goes up to 1, and {key}: {label.scale:g} makes {found.high:g} of that, but "
        f"training.loss {loss.name} takes {takes.words}: leave the scale out"
    )


def _reason(takes: Optional[Takes], loss: Component, metrics: Sequence[Component], label: ColumnSpec) -> Optional[str]:
    """Return what takes a label for the index of a class; None where nothing does, or the rows show what it is."""
    if takes is not None and takes.is_index:
        return f"training.loss {loss.name} takes {takes.words}"
    if takes in losses.OF_CLASSES:  # of two: what a scale of 1/255 makes of 0 and 255 is held against the loss
        return None
    if label.classes is not None:
        return f"classes: {label.classes} says that it holds indices of classes"
    for metric in metrics:
        wanted = losses.metric_takes(metric)
        if wanted is not None and wanted.is_index:
            return f"the metric {metric.name} takes {wanted.words}"
    return None


def _metrics_of(place: int, metrics: Sequence[Component]) -> list[Component]:
    return [metric for metric in metrics if metric.options.get("label", 0) == place]
