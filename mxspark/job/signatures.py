"""What each function of the user's takes and returns: checked where it is given, named in messages and in the docs.

One row of `SIGNATURES` a key; ``docs/functions.md`` has a line for each, and a test compares the two.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Optional

from mxspark.job import parameter_words

#: A schedule that takes it is given the learning rate of the optimizer, and returns the schedule.
BASE_LR = "base_lr"


@dataclass(frozen=True)
class Takes:
    """The parameters of a function.

    Attributes
    ----------
    label : str
        What the function is called.
    required : tuple of str
        Those that must be given, by place.
    by_name : tuple of str
        Those that must be given by name.
    most : float
        How many it takes by place; infinite with ``*args``.
    is_class : bool
        Whether it is a class, which is called to make what is needed.
    optional : tuple of str
        Those that may be given by place, and have a default.
    """

    label: str
    required: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()
    most: float = float("inf")
    is_class: bool = False
    optional: tuple[str, ...] = ()

    @classmethod
    def of(cls, label: str, function: Callable[..., Any]) -> Optional[Takes]:
        """Read the parameters of a function; None where they cannot be known, as of one that is written in C."""
        try:
            found = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        by_place = [one for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        return cls(
            label,
            tuple(one.name for one in by_place if one.default is one.empty),
            tuple(one.name for one in found if one.kind == one.KEYWORD_ONLY and one.default is one.empty),
            float("inf") if any(one.kind == one.VAR_POSITIONAL for one in found) else len(by_place),
            isinstance(function, type),
            tuple(one.name for one in by_place if one.default is not one.empty),
        )

    @classmethod
    def of_source(cls, label: str, node: ast.AST) -> Optional[Takes]:
        """Read the parameters of a function that is not imported; None of one whose decorators may change them."""
        if not isinstance(node, ast.FunctionDef) or node.decorator_list:
            return None
        taken = node.args
        by_place = _names((*taken.posonlyargs, *taken.args))
        by_name = [one.arg for one, default in zip(taken.kwonlyargs, taken.kw_defaults) if default is None]
        most = float("inf") if taken.vararg else len(by_place)
        needed = len(by_place) - len(taken.defaults)
        return cls(label, by_place[:needed], tuple(by_name), most, optional=by_place[needed:])

    def __str__(self) -> str:
        return f"({', '.join((*self.required, *self.by_name))})"


@dataclass(frozen=True)
class Form:
    """One way to write a function: what it looks like, and what it does."""

    written: str
    does: str

    def __str__(self) -> str:
        return f"{self.written} that {self.does}"


@dataclass(frozen=True)
class Signature:
    """What is given in one place of a job.

    Attributes
    ----------
    key : str
        Where it is given.
    forms : tuple of Form
        How it may be written.
    counts : tuple of int
        How many parameters without a default there may be; with `or_more` more than the last, too.
    """

    key: str
    forms: tuple[Form, ...]
    counts: tuple[int, ...]
    or_more: bool = False

    def accepts(self, takes: Takes) -> bool:
        """Tell whether a function of these parameters can be called in one of the forms."""
        required = len(takes.required)
        if takes.by_name:
            return False
        if takes.is_class and takes.required != (BASE_LR,):  # called to make what is called later
            return required == 0
        if self.or_more and required > self.counts[-1]:
            return True
        return required in self.counts or required <= self.counts[0] <= takes.most

    def __str__(self) -> str:
        return ", or ".join(map(str, self.forms))


SIGNATURES = {
    "network": Signature("training.network", (Form("network()", "builds a gluon.HybridBlock and returns it"),), (0,)),
    "loss": Signature(
        "training.loss",
        (
            Form("loss(output, label)", "returns one value a row, an NDArray of shape (rows,)"),
            Form("loss()", "returns such a function or a gluon loss"),
        ),
        (0, 2),
        or_more=True,
    ),
    "optimizer": Signature("training.optimizer", (Form("optimizer()", "returns an mxnet.optimizer.Optimizer"),), (0,)),
    "schedule": Signature(
        "training.schedule",
        (
            Form("schedule(step)", "returns the learning rate of an update, which are counted from 1"),
            Form(f"schedule() or schedule({BASE_LR})", "returns such a function or an mxnet.lr_scheduler.LRScheduler"),
        ),
        (0, 1),
    ),
    "initializer": Signature(
        "training.initializer", (Form("initializer()", "returns an mxnet.initializer.Initializer"),), (0,)
    ),
    "metric": Signature(
        "training.metrics",
        (
            Form("metric(labels, outputs)", "returns one value a row, from numpy arrays"),
            Form("metric()", "returns such a function or an mxnet.metric.EvalMetric"),
        ),
        (0, 2),
    ),
    "on_event": Signature("on_event", (Form("on_event(event)", "takes each event"),), (1,)),
}


def problem(kind: str, takes: Optional[Takes]) -> Optional[str]:
    """Return why a function cannot be what a key is given, with what it must look like; None if it can be, or may be.

    >>> print(problem("network", Takes("mynet:build", ("classes",))))
    mynet:build takes (classes); give a function network() that builds a gluon.HybridBlock and returns it: \
functools.partial(build, classes=...) is one
    """
    signature = SIGNATURES[kind]
    if takes is None:
        return None
    if signature.accepts(takes):
        swapped = parameter_words.swapped(kind, takes.required)
        return None if swapped is None else f"{takes.label} {swapped}"
    name = takes.label.rpartition(":")[2].rpartition(".")[2]
    text = f"{takes.label} takes {takes}; give a function {signature}"
    given = ", ".join(f"{one}=..." for one in (*takes.required, *takes.by_name))
    if signature.counts == (0,):
        return f"{text}: functools.partial({name}, {given}) is one"
    return f"{text}{_defaults(signature, takes)}"


def _defaults(signature: Signature, takes: Takes) -> str:
    """Return which defaults keep a function from being called so; what has one is an option."""
    for count in range(1, len(takes.optional) + 1):
        names = takes.optional[:count]
        if signature.accepts(replace(takes, required=(*takes.required, *names))):
            return f": remove the default of {', '.join(names)}, which makes an option of it"
    return ""


def _names(arguments: Iterable[ast.arg]) -> tuple[str, ...]:
    return tuple(one.arg for one in arguments)
