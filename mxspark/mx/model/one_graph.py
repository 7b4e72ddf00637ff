"""Whether a network is one graph: the same in training and in prediction, and each time it is traced.

MXNet traces `hybrid_forward` once, in the first step, and validates with that graph too; the model that is published is
traced again, in prediction. Where Python decides what the graph is, these are two networks.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from mxspark.data.signature import input_names
from mxspark.errors import TrainingCodeError
from mxspark.mx.model import export
from mxspark.mx.model import graph as graphs

Parts = list[tuple[str, str]]
_END = ("nothing", "the end")


def check(label: str, block: gluon.HybridBlock, symbol: mx.sym.Symbol, inputs: int) -> None:
    """Refuse a network, called `label` and traced as `symbol`, that may become another graph.

    What overrides `forward` is run anew for every batch, in the mode of that batch, so only what MXNet keeps of it has
    to be the same in both: the blocks that it calls.

    Parameters
    ----------
    inputs : int
        How many arrays it takes.

    Raises
    ------
    TrainingCodeError
        Naming the block and the first difference.
    """
    draws, of_numpy = random.getstate(), np.random.get_state()
    try:
        with _looking_into_what_is_kept(label, inputs):
            again = export.trace(block, inputs)
        _refuse_another(f"the network {label}", _parts(symbol, inputs), _parts(again, inputs))
    finally:  # who initialises parameters shall draw what it drew before there was this check
        random.setstate(draws)
        np.random.set_state(of_numpy)


@contextmanager
def _looking_into_what_is_kept(label: str, inputs: int) -> Iterator[None]:
    """Have every block whose graph MXNet would keep traced in both modes; this process is ours alone."""
    plain = gluon.HybridBlock.forward
    is_inside = [False]  # a graph that is kept holds those of the blocks inside

    def forward(block: Any, x: Any, *others: Any) -> Any:
        if is_inside[0] or not block._active or not isinstance(x, mx.sym.Symbol):
            return plain(block, x, *others)
        is_inside[0] = True
        try:
            where = f"the network {label}: hybrid_forward of {block.name} ({type(block).__name__})"
            return _look(where, lambda: plain(block, x, *others), inputs)
        finally:
            is_inside[0] = False

    gluon.HybridBlock.forward = forward
    try:
        yield
    finally:
        gluon.HybridBlock.forward = plain


def _look(where: str, trace: Any, inputs: int) -> Any:
    """Return what a block makes of symbols in prediction, if it makes the same in training and once more."""
    before = _drawn()
    made = trace()
    predicts = _parts(_grouped(made), inputs)
    with autograd.record():
        trains = _parts(_grouped(trace()), inputs)
    # first what is another one each time: it is so in the other mode, too
    _refuse_another(where, predicts, _parts(_grouped(trace()), inputs))
    difference = _difference(predicts, trains, "in prediction", "in training")
    if difference is not None:
        raise TrainingCodeError(
            f"{where} makes another graph in training than in prediction (does it ask autograd.is_training()?): "
            f"{difference}; MXNet keeps that of the first step, and validates with it, while the model that is "
            "published computes the other one: leave the difference to operators that know the mode by themselves "
            "(Dropout, BatchNorm), override forward() in place of hybrid_forward, which is run anew for every batch, "
            "or make it in training.loss"
        )
    if _drawn() != before:
        raise TrainingCodeError(
            f"{where} draws random numbers in Python (random, numpy.random): MXNet keeps the graph of the first step, "
            "so they are drawn once for the whole training, and anew for the model that is published: use "
            "operators (F.random, Dropout), which draw for every batch, or, for training alone, in forward() in place "
            "of hybrid_forward"
        )
    return made


def _refuse_another(where: str, first: Parts, second: Parts) -> None:
    difference = _difference(first, second, "the first time", "the second time")
    if difference is not None:
        raise TrainingCodeError(
            f"{where} makes another graph each time it is traced (is there a counter or a random choice in Python?): "
            f"{difference}; what is trained, validated and published would be several networks: make the graph depend "
            "on nothing that changes from call to call, and draw random numbers with operators (F.random, Dropout)"
        )


def _difference(first: Parts, second: Parts, when: str, then: str) -> Optional[str]:
    """Return the first operator or parameter that differs; operators have other names with each trace."""
    for one, other in zip_longest(first, second, fillvalue=_END):
        if one[0] != other[0]:
            return f"{one[1]} is {one[0]} {when}, and {other[1]} is {other[0]} {then}"
    return None


def _parts(symbol: mx.sym.Symbol, inputs: int) -> Parts:
    """Return for each part of a graph what it computes, parameters by name, and what it is called."""
    nodes = json.loads(symbol.tojson())["nodes"]
    lines = graphs.describe(symbol, input_names(inputs))
    names = [node["name"] for node in nodes]
    told = [f"{line} {node['name']}" if node["op"] == "null" else line for line, node in zip(lines, nodes)]
    return [*zip(told, names), (lines[-1], "the output")]


def _grouped(made: Any) -> mx.sym.Symbol:
    return mx.sym.Group(list(_flat(made)))


def _flat(made: Any) -> Iterator[mx.sym.Symbol]:
    if isinstance(made, mx.sym.Symbol):
        yield made
    elif isinstance(made, (list, tuple)):
        for one in made:
            yield from _flat(one)


def _drawn() -> tuple[Any, ...]:
    """Return what tells whether random numbers were drawn in between."""
    of_numpy: Any = np.random.get_state()
    return (random.getstate(), of_numpy[1].tobytes(), *of_numpy[2:])
