"""Which label a loss of the user's takes at which place: by their names where it uses them, else in declared order."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Callable

from mxnet import gluon

from mxspark.errors import TrainingCodeError
from mxspark.job import parameter_words

Loss = Callable[..., Any]
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def ordered(loss: Loss, labels: Sequence[str]) -> Loss:
    """Return a loss that takes the labels in the order in which the job declares them.

    A loss whose parameters after the output are named as the labels gets each by its name. Any other gets them in
    declared order.

    Raises
    ------
    TrainingCodeError
        If a loss has parameters that would have to be trained, takes more or fewer labels, a parameter has the name of
        a label that is given to another, or says that the output comes last, or a label would be taken for MXNet's
        `sample_weight`.
    """
    _refuse_parameters(loss)
    names = parameters(loss)
    taken = names[1 : 1 + len(labels)]
    has_names = sorted(taken) == sorted(labels)
    if not has_names:
        _refuse_swapped(names, labels)
    _refuse_count(loss, labels)
    if not has_names:
        return loss
    order = [labels.index(name) for name in taken]
    if order == list(range(len(labels))):
        return loss
    if isinstance(loss, gluon.HybridBlock):
        return _Reordered(loss, order)
    return lambda output, *values: loss(output, *(values[place] for place in order))


class _Reordered(gluon.HybridBlock):  # type: ignore[misc]
    """A loss whose labels come in another order, and that has a graph as before."""

    def __init__(self, loss: gluon.HybridBlock, order: Sequence[int]) -> None:
        super().__init__(prefix="")
        self.loss = loss
        self._order = tuple(order)

    def hybrid_forward(self, F: Any, output: Any, *labels: Any) -> Any:
        """Return what the loss gives."""
        return self.loss(output, *(labels[place] for place in self._order))


def parameters(loss: Loss) -> list[str]:
    """Return the names of the positional parameters of a loss, the output's first; none where they cannot be known."""
    return [parameter.name for parameter in _parameters(loss) if parameter.kind in _POSITIONAL]


def _parameters(loss: Loss) -> list[inspect.Parameter]:
    function: Any = loss
    skipped = 0
    if isinstance(loss, gluon.Block):
        function = loss.forward
        if isinstance(loss, gluon.HybridBlock) and type(loss).forward is gluon.HybridBlock.forward:
            function = loss.hybrid_forward
            skipped = 1  # F, the module of operators
    try:
        found = list(inspect.signature(function).parameters.values())[skipped:]
    except (TypeError, ValueError):  # one that is written in C
        return []
    own = loss._reg_params if isinstance(loss, gluon.HybridBlock) else ()  # MXNet gives a block those itself
    return [parameter for parameter in found if parameter.name not in own]


def _refuse_parameters(loss: Loss) -> None:
    """Refuse a loss with parameters to train: only those of the network are initialised, trained and kept."""
    own = loss._collect_params_with_prefix() if isinstance(loss, gluon.Block) else {}
    trained = [name for name, parameter in own.items() if parameter.grad_req != "null"]
    if trained:
        raise TrainingCodeError(
            f"the loss {type(loss).__name__} has parameters of its own ({', '.join(trained)}), and a loss is not "
            "trained: put them into the network, and have it return what the loss needs of them as another output, "
            "with the rows first, as F.broadcast_add(F.zeros_like(y), s) for an s of shape (1, 1): the loss then gets "
            "(outputs, label), outputs being a list; or, where they are to stay as they are, set their grad_req to "
            "'null'"
        )


def _refuse_count(loss: Loss, labels: Sequence[str]) -> None:
    found = _parameters(loss)
    if not found or any(parameter.kind == parameter.VAR_POSITIONAL for parameter in found):
        return
    by_place = [parameter for parameter in found if parameter.kind in _POSITIONAL]
    needed = [parameter.name for parameter in by_place if parameter.default is parameter.empty]
    if len(needed) <= 1 + len(labels) <= len(by_place):
        return
    raise TrainingCodeError(
        f"the loss takes ({', '.join(parameter.name for parameter in by_place)}), and gets the output and "
        f"{len(labels)} label{'s' * (len(labels) > 1)}: give it the parameters (output, {', '.join(labels)}), or name "
        "in data.label what else it takes"
    )


def _refuse_swapped(names: Sequence[str], labels: Sequence[str]) -> None:
    swapped = parameter_words.swapped("loss", names)
    if swapped is not None:
        raise TrainingCodeError(f"the loss {swapped}")
    if names and names[0] in labels:
        raise TrainingCodeError(
            f"the loss takes ({', '.join(names)}), and its first parameter gets the output, but is named as the label "
            f"{names[0]!r}: give the output the first place under a name of its own, (prediction, "
            f"{', '.join(labels)})"
        )
    for place, label in enumerate(labels, 1):
        given = names[place] if place < len(names) else None
        if label in names and names.index(label) != place:
            raise TrainingCodeError(
                f"the loss takes ({', '.join(names)}), and the label {label!r} would be given to {given!r}, as the job "
                f"declares its labels in the order {', '.join(labels)}: name all parameters after the output as the "
                "labels, in any order, or none of them"
            )
        if given == "sample_weight" and label != given:
            raise TrainingCodeError(
                f"the label {label!r} would be given to the loss as its sample_weight, which MXNet broadcasts: name it "
                f"as data.weight: {label} in place of a label if it is what a row counts, or give a function "
                f"(output, {', '.join(labels)}) that returns one value a row"
            )
