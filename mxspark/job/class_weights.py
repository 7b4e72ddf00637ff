"""Weights of classes: which losses have classes, and which they have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Optional

from mxspark.job import losses
from mxspark.job.losses import Seen
from mxspark.job.spec import Component

_KEY = "training.class_weights"


def problem(loss: Component, classes: Mapping[int, float], declared: Optional[int]) -> Optional[str]:
    """Return why a loss cannot have weights of these classes, of so many `declared` ones; None if it can."""
    if not classes:
        return None
    takes = losses.takes(loss)
    if takes is None:
        return (
            f"{_KEY}: {loss.name} is a function of yours, whose classes are not known; leave it out and weigh the "
            "classes in the function, or set data.weight"
        )
    if takes not in losses.OF_CLASSES:
        return (
            f"{_KEY}: training.loss {loss.name} takes {takes.words}, which are no classes; leave it out, or set "
            "data.weight"
        )
    wrong = [number for number in classes if not _is_class(takes, number)]
    if wrong:
        return f"{_KEY}: {wrong[0]} is no class of training.loss {loss.name}, which takes {takes.words}; correct it"
    if declared is not None and max(classes) >= declared:
        return f"{_KEY}: {max(classes)} is no class of a label with classes: {declared}; correct one of them"
    return None


def label_problem(label: str, found: Optional[Seen]) -> Optional[str]:
    """Return why the labels that were seen have no class each; None if they have."""
    if found is None:
        return None
    if math.prod(found.shape) != 1:
        return (
            f"label {label!r} has {math.prod(found.shape)} values in a row, and {_KEY} weighs rows of one class; "
            "leave it out, or set data.weight"
        )
    if not found.content.is_whole:
        return (
            f"label {label!r} has {found}, and {_KEY} weighs classes; leave it out, or set data.weight, for labels "
            "that are probabilities"
        )
    return None


def beyond(classes: Sequence[tuple[int, float]], outputs: int) -> Optional[str]:
    """Return which weight is of a class that a network of so many outputs does not have; None if none is."""
    wrong = [number for number, _ in classes if number >= outputs]
    if not wrong:
        return None
    return (
        f"{_KEY}: {wrong[0]} is no class of the network, which has {outputs} outputs, for classes 0 to {outputs - 1}; "
        "correct it, or give the network more outputs"
    )


def _is_class(takes: losses.Takes, number: int) -> bool:
    return takes.low <= number <= takes.high and (takes.has_zero or number != 0)
