"""Network, loss, initializer and schedule of a job, built in the worker process.

What the user's own functions raise passes through unchanged; the caller tells it from our own errors.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, Callable, Optional

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job import catalog, parameter_words, signatures
from mxspark.job.signatures import Takes
from mxspark.job.spec import Component, Function, TrainingSpec


class LabelCast(gluon.HybridBlock):  # type: ignore[misc]
    """A loss whose labels take the dtype of the prediction: MXNet's arithmetic refuses int32 with float32."""

    def __init__(self, loss: gluon.HybridBlock) -> None:
        super().__init__(prefix="")
        self.loss = loss

    def forward(self, pred: mx.nd.NDArray, *labels: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return one value a row, shape (rows,), of the wrapped loss."""
        return self.loss(pred, *(_cast(label, pred.dtype) for label in labels))


class ForVectors(mx.init.Initializer):  # type: ignore[misc]
    """An initializer that needs rows and columns, and fills a vector, which has none, as Gluon's default does."""

    def __init__(self, of_matrices: mx.init.Initializer) -> None:
        super().__init__()
        self._of_matrices = of_matrices

    def _init_weight(self, name: str, array: mx.nd.NDArray) -> None:
        (self._of_matrices if array.ndim > 1 else mx.init.Uniform())._init_weight(name, array)


def build_network(training: TrainingSpec) -> gluon.HybridBlock:
    """Call the user's function and return the network it made, not yet initialized.

    Raises
    ------
    TrainingCodeError
        If what it returned is no gluon HybridBlock.
    """
    made = load("network", training.network)()
    if isinstance(made, gluon.HybridBlock):
        return made
    raise TrainingCodeError(
        f"training.network {training.network.label} returned {describe(made)} where a gluon HybridBlock is needed: "
        + _network_remedy(made)
    )


def build_loss(component: Component) -> Callable[..., mx.nd.NDArray]:
    """Return a callable from (prediction, label, …) to one value a row.

    A named loss is a gluon block that also takes labels of another dtype than the prediction's. A function of the
    user is either called with the component's options and returns the loss, or, if it needs two or more arguments,
    is the loss itself.
    """
    if component.function is None:
        entry = known("loss", component)
        loss = getattr(gluon.loss, entry.target)(**component.options)
        takes_indices = component.name == "ctc" or (
            component.name == "softmax_cross_entropy" and component.options.get("sparse_label", True)
        )
        return loss if takes_indices else LabelCast(loss)
    loaded = load("loss", component.function)
    made = loaded if needs_two(loaded) else loaded(**component.options)
    if isinstance(made, type) or not callable(made):
        raise TrainingCodeError(
            f"training.loss {component.function.label} returned {describe(made)}: return a gluon loss or a function "
            "of (prediction, label) that gives one value a row"
        )
    return made


def meant(component: Component, loss: Callable[..., Any]) -> Component:
    """Return a loss by its name, also where it is given as the object of MXNet's that has one; else as it is given."""
    for name, entry in catalog.LOSSES.items() if component.function is not None else ():
        if type(loss) is getattr(gluon.loss, entry.target) and _has_rows_first(loss):
            options = {option: getattr(loss, f"_{option}", None) for option in entry.options}
            return Component(name, {option: value for option, value in options.items() if value is not None})
    return component


def _has_rows_first(loss: gluon.loss.Loss) -> bool:
    return loss._batch_axis == 0 and getattr(loss, "_layout", "NTC") == "NTC"


def build_initializer(component: Component) -> mx.init.Initializer:
    """Return the initializer for parameters that bring none of their own."""
    made = _make_initializer(component)
    return ForVectors(made) if isinstance(made, (mx.init.Xavier, mx.init.Orthogonal)) else made


def _make_initializer(component: Component) -> mx.init.Initializer:
    if component.function is None:
        return getattr(mx.init, known("initializer", component).target)(**component.options)
    loaded = component.function.load()
    # an object of MXNet's is called too, with the array that it fills
    is_made = isinstance(loaded, mx.init.Initializer)
    made = loaded if is_made else load("initializer", component.function)(**component.options)
    if not isinstance(made, mx.init.Initializer):
        raise TrainingCodeError(
            f"training.initializer {component.function.label} returned {describe(made)}: return an "
            "mxnet.initializer.Initializer"
        )
    return made


def build_schedule(component: Optional[Component], base_lr: float) -> Optional[Callable[[int], float]]:
    """Return a callable from the number of updates done, this one included, to a learning rate; None if there is none.

    A function of the user that takes the number of updates is the schedule, and is given the component's options each
    time. Another is called for it with the options, and with ``base_lr`` if it takes such an argument.
    """
    if component is None:
        return None
    if component.function is None:
        entry = known("schedule", component)
        start = component.options.get("warmup_begin_lr", 0)
        if start > base_lr:
            raise InputError(
                f"schedule {component.name}: warmup_begin_lr is {start}, above the optimizer's learning_rate, which is "
                f"{base_lr}: lower it"
            )
        options = {key: list(value) if isinstance(value, tuple) else value for key, value in component.options.items()}
        schedule: Callable[[int], float] = getattr(mx.lr_scheduler, entry.target)(base_lr=base_lr, **options)
        return schedule
    function = load("schedule", component.function)
    options = dict(component.options)
    if _is_schedule(function, options):
        _refuse_other_rate(function, base_lr)
        _refuse_epochs(component.function.label, function, options)
        return functools.partial(function, **options) if options else function
    if signatures.BASE_LR not in options and signatures.BASE_LR in inspect.signature(function).parameters:
        options[signatures.BASE_LR] = base_lr
    made = function(**options)
    if isinstance(made, type) or not callable(made):
        raise TrainingCodeError(
            f"training.schedule {component.function.label} returned {describe(made)}: return an "
            "mxnet.lr_scheduler.LRScheduler or a function from the number of updates to a learning rate"
            + _hint_of_rate(function, made)
        )
    _refuse_epochs(f"what {component.function.label} returned", made, {})
    return made  # type: ignore[no-any-return]


def _refuse_epochs(label: str, schedule: Callable[[int], float], options: Mapping[str, Any]) -> None:
    takes = Takes.of(label, schedule)
    names = [] if takes is None else [name for name in takes.required if name not in options]
    problem = parameter_words.counts_epochs(names)
    if problem is not None:
        raise InputError(f"training.schedule: {label} {problem}")


def _hint_of_rate(function: Callable[..., Any], made: Any) -> str:
    """Return how a function that returned a rate becomes the schedule that it seems to be."""
    takes = Takes.of("", function)
    if takes is None or isinstance(made, bool) or not isinstance(made, (int, float, np.number)):
        return ""
    if signatures.BASE_LR in takes.required:
        return (
            f"; what is called {signatures.BASE_LR} is given the optimizer's learning rate, once: to return a rate "
            "itself, it takes the number of updates, under another name, as (step)"
        )
    if takes.optional:
        return f"; to return a rate itself, it takes the number of updates: remove the default of {takes.optional[0]}"
    return "; to return a rate itself, it takes the number of updates, as (step)"


def named_schedule(made: Any) -> Optional[Component]:
    """Return a schedule of MXNet's by its name; None of any other."""
    for name, entry in catalog.SCHEDULES.items():
        if type(made) is getattr(mx.lr_scheduler, entry.target):
            options = {option: getattr(made, option) for option in entry.options if hasattr(made, option)}
            return Component(name, options)
    return None


def _is_schedule(function: Callable[..., Any], options: Mapping[str, Any]) -> bool:
    """Tell a schedule, which lacks the number of updates, from what makes one of these options."""
    takes = Takes.of("", function)
    if takes is None or takes.is_class:
        return False
    return [name for name in takes.required if name not in options] not in ([], [signatures.BASE_LR])


def _refuse_other_rate(schedule: Callable[[int], float], base_lr: float) -> None:
    """Refuse an object of MXNet's that leaves out of account what the optimizer is told: its own default is 0.01."""
    own = getattr(schedule, "base_lr", base_lr)
    if own != base_lr:
        raise InputError(
            f"training.schedule is a {type(schedule).__name__} that starts from base_lr {own}, but training.optimizer "
            f"has the learning_rate {base_lr}: make them the same, or give a function schedule(base_lr) that returns it"
        )


def load(kind: str, function: Function) -> Callable[..., Any]:
    """Return a function of the user's, in the process that calls it.

    Raises
    ------
    InputError
        If it cannot be called as it is for its key; of one that was given as such the driver has said so.
    """
    loaded = function.load()
    problem = signatures.problem(kind, Takes.of(function.label, loaded))
    if problem is not None:
        raise InputError(f"{signatures.SIGNATURES[kind].key}: {problem}")
    return loaded


def known(kind: str, component: Component) -> catalog.Known:
    """Return what stands behind a named component; the driver has checked it, so a problem here is told shortly."""
    problems = catalog.check(kind, component.name, component.options)
    if problems:
        raise InputError("; ".join(problems))
    return catalog.TABLES[kind][component.name]


def _cast(label: mx.nd.NDArray, dtype: Any) -> mx.nd.NDArray:
    return label if label.dtype == dtype else label.astype(dtype)


def needs_two(function: Callable[..., Any]) -> bool:
    """Tell a function of (prediction, label) from one that makes such a function."""
    if isinstance(function, type):
        return False
    if isinstance(function, gluon.Block):
        return True
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len([p for p in positional if p.default is p.empty]) >= 2


def describe(made: Any) -> str:
    """Say what a function of the user returned."""
    if made is None:
        return "None"
    if isinstance(made, type):
        return f"the class {made.__qualname__} itself"
    return f"{type(made).__module__}.{type(made).__qualname__}"


def _network_remedy(made: Any) -> str:
    if made is None:
        return "end the function with `return net`"
    if isinstance(made, type):
        return "return an instance of it"
    if isinstance(made, gluon.Block):
        return "derive it from gluon.HybridBlock, or use HybridSequential in place of Sequential"
    if isinstance(made, mx.sym.Symbol):
        return "wrap it in gluon.SymbolBlock(symbol, inputs)"
    return "return the network"
