"""The network of a job, ready to train: built, traced, given its shapes, and checked against the labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.data import plan as plans
from mxspark.data.dataset import DataSet
from mxspark.data.signature import input_names
from mxspark.data.spool import ColumnSpec, SpooledArray
from mxspark.errors import DataError, InputError, TrainingCodeError
from mxspark.job import class_weights, label_shapes, losses
from mxspark.job.ends import End
from mxspark.job.spec import Component, TrainingSpec
from mxspark.mx.model import components, export, one_graph, output_end, row_axis
from mxspark.mx.model import graph as graphs
from mxspark.mx.model import inputs as model_inputs
from mxspark.mx.model.randomness import is_random
from mxspark.mx.runtime import attribution, spark_session
from mxspark.mx.runtime.attribution import training_code


@dataclass(frozen=True)
class Network:
    """A network and its loss.

    Attributes
    ----------
    block : gluon.HybridBlock
        Initialised; every parameter of its graph has its shape.
    loss : callable
        From (output, *labels) to one value a row.
    meant : Component
        The loss by its name, also where it is given as the object of MXNet's that has one; else as the job has it.
    parameters : dict of str to gluon.Parameter
        Those of the graph, by structural name, in the block's own order.
    trained : tuple of gluon.Parameter
        Those with a gradient.
    statistics : tuple of gluon.Parameter
        Auxiliary states such as the running means of BatchNorm.
    symbol : mx.sym.Symbol
        The block as a symbol, its inputs named by `signature.input_names`.
    input_shapes : dict of str to tuple of int
        Of one batch, by the name of the graph's input.
    output_shapes : tuple of tuple of int
        Of one batch.
    ends : tuple of End or None
        The layer that each output comes out of.
    is_random : bool
        Whether the graph has operators that draw random numbers.
    graph : tuple of str
        What is computed; see `graph.describe`.
    """

    block: gluon.HybridBlock
    loss: Callable[..., mx.nd.NDArray]
    meant: Component
    parameters: dict[str, gluon.Parameter]
    trained: tuple[gluon.Parameter, ...]
    statistics: tuple[gluon.Parameter, ...]
    symbol: mx.sym.Symbol
    input_shapes: dict[str, tuple[int, ...]]
    output_shapes: tuple[tuple[int, ...], ...]
    ends: tuple[Optional[End], ...]
    is_random: bool
    graph: tuple[str, ...]

    @property
    def trained_names(self) -> tuple[str, ...]:
        """Structural names of those with a gradient, in the same order."""
        return tuple(name for name, parameter in self.parameters.items() if parameter.grad_req != "null")

    @property
    def size(self) -> int:
        """Number of trained values."""
        return sum(int(np.prod(p.shape, dtype=np.int64)) for p in self.trained)

    @contextmanager
    def private_values(self) -> Iterator[None]:
        """Let the network compute with copies of the values it shares with other workers.

        For passes in inference mode: in one, oneDNN lays the weights of convolutions out anew where they lie.
        """
        shared = {parameter: parameter._data for parameter in self.trained if not parameter.list_data()[0].writable}
        for parameter, data in shared.items():
            parameter._data = [data[0].copy()]
        try:
            yield
        finally:
            mx.nd.waitall()
            for parameter, data in shared.items():
                parameter._data = data


def prepare(training: TrainingSpec, inputs: Sequence[tuple[int, ...]], features: Sequence[ColumnSpec] = ()) -> Network:
    """Build the user's network and make it ready for batches of the shapes `inputs`, which are those of `features`.

    Shapes come from the traced graph. No forward pass is made: one in inference mode would leave convolution weights in
    a layout of oneDNN that the parameter servers cannot take.
    """
    seed_all(training.seed)
    with training_code():
        with spark_session.refused(training.network.label):
            block = components.build_network(training)
            loss = components.build_loss(training.loss)
            initializer = components.build_initializer(training.initializer)
        block.hybridize(static_alloc=True, static_shape=True)
        if training.loss.function is None:
            loss.hybridize(static_alloc=True, static_shape=True)  # type: ignore[attr-defined]
        graph = _trace(training.network.label, block, len(inputs), features)
        one_graph.check(training.network.label, block, graph, len(inputs))
        shapes = _infer_shapes(graph, inputs)
        row_axis.check(training.network.label, graph, dict(zip(input_names(len(inputs)), inputs)))
        parameters = _initialize(block, initializer, graph, shapes)
        model_inputs.refuse_types(training.network.label, graph, tuple(parameters.values()), features)
    if not any(p.grad_req != "null" for p in parameters.values()):
        raise TrainingCodeError(
            f"the network {training.network.label} has no parameter that takes a gradient, so there is nothing to "
            "train: give it a layer with parameters, or set grad_req of those it has to 'write'"
        )
    auxiliary = set(graph.list_auxiliary_states())
    return Network(
        block=block,
        loss=loss,
        meant=components.meant(training.loss, loss),
        parameters=parameters,
        trained=tuple(p for p in parameters.values() if p.grad_req != "null"),
        statistics=tuple(p for p in parameters.values() if p.name in auxiliary),
        symbol=graph,
        input_shapes=dict(zip(input_names(len(inputs)), inputs)),
        output_shapes=tuple(shapes[name] for name in graph.list_outputs()),
        ends=output_end.ends(graph),
        is_random=is_random(graph),
        graph=graphs.describe(graph, input_names(len(inputs))),
    )


def _trace(label: str, block: gluon.HybridBlock, inputs: int, features: Sequence[ColumnSpec]) -> mx.sym.Symbol:
    model_inputs.refuse_numpy(f"the network {label}, or the loss,")
    model_inputs.refuse_same_names(label, block)
    model_inputs.refuse_order(label, block, features)
    try:
        return export.trace(block, inputs)
    except TrainingCodeError as error:
        model_inputs.refuse_count(label, block, features)
        model_inputs.refuse_numpy(f"the network {label}", error.__cause__)
        raise


def seed_all(seed: int) -> None:
    """Seed every generator that building and initialising a network may draw from; this process is ours alone."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    mx.random.seed(seed & 0x7FFFFFFF)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the random operators of one step, so that a resumed run draws what the uninterrupted one would."""
    key = int(plans.keys(np.array([rank], dtype=np.int64), seed, step)[0])
    mx.random.seed(key & 0x7FFFFFFF)
    np.random.seed(key & 0xFFFFFFFF)  # of a loss of the user's


def _infer_shapes(graph: mx.sym.Symbol, inputs: Sequence[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    known = {name: shape for name, shape in zip(input_names(len(inputs)), inputs) if name in graph.list_inputs()}
    try:
        arguments, outputs, auxiliary = graph.infer_shape(**known)
    except mx.MXNetError as error:
        seen = ", ".join(map(str, known.values()))
        raise TrainingCodeError(
            f"the network does not take batches of shape {seen}: {attribution.in_short(error)}; set "
            "data.features.<name>.shape to what one row is for the network, or mend the network"
        ) from error
    if arguments is None:
        raise TrainingCodeError(
            f"the shapes of the network's parameters do not follow from its inputs {list(known.values())}: give its "
            "layers the sizes they cannot infer (in_units, in_channels)"
        )
    names = graph.list_arguments() + graph.list_outputs() + graph.list_auxiliary_states()
    return dict(zip(names, [*arguments, *outputs, *auxiliary]))


def _initialize(
    block: gluon.HybridBlock,
    initializer: mx.init.Initializer,
    graph: mx.sym.Symbol,
    shapes: dict[str, tuple[int, ...]],
) -> dict[str, gluon.Parameter]:
    """Give the graph's parameters shape and values; what the user's function has initialised keeps its values."""
    used = set(graph.list_inputs())
    parameters: dict[str, gluon.Parameter] = {}
    for name, parameter in block._collect_params_with_prefix().items():
        if parameter.name in used:  # a shared one goes by its first name
            used.discard(parameter.name)
            parameters[name] = parameter
    for parameter in parameters.values():
        parameter.shape = shapes[parameter.name]
        if parameter.grad_req == "add":
            parameter.grad_req = "write"  # one backward pass a step: nothing to add to
        if parameter._data is None and not parameter._deferred_init:
            parameter.initialize(ctx=mx.current_context(), default_init=initializer)
        if parameter._deferred_init:
            parameter._finish_deferred_init()
    return parameters


def check_outputs(training: TrainingSpec, outputs: Sequence[Sequence[int]], labels: Sequence[ColumnSpec]) -> None:
    """Refuse outputs and labels of shapes that a named loss does not take: MXNet would broadcast or reshape them.

    Parameters
    ----------
    outputs : sequence of sequence of int
        Shapes of the network's outputs for one batch.
    """
    too_many = label_shapes.outputs_problem(training.loss, outputs)
    if too_many is not None:
        raise TrainingCodeError(too_many)
    misfit = label_shapes.problem(training.loss, labels[0], outputs[0])
    if misfit is not None:
        raise DataError(misfit)
    loss = training.loss
    if losses.is_class_index(loss):
        beyond = class_weights.beyond(training.class_weights, outputs[0][int(loss.options.get("axis", -1))])
        if beyond is not None:
            raise InputError(beyond)


def check_labels(training: TrainingSpec, output: Sequence[int], labels: Sequence[ColumnSpec], data: DataSet) -> None:
    """Refuse class labels the network has no output for: MXNet would silently take its last class for them.

    Parameters
    ----------
    output : sequence of int
        Shape of the network's output for one batch.
    """
    loss = training.loss
    if "axis" in loss.options:
        row_axis.refuse_rows(f"training.loss {loss.name}", int(loss.options["axis"]), output)
    if labels:
        name = labels[0].name
        seen = losses.seen(name, data.spool.arrays)
        # the first of them the driver has seen, but for an object of MXNet's, of which only a worker knows the name
        unmeant = losses.problem(loss, name, seen) or losses.against_output(loss, name, seen, output)
        if unmeant is not None:
            raise DataError(unmeant)
    by_index = loss.options.get("sparse_label", True) and loss.function is None
    if loss.name != "softmax_cross_entropy" or not by_index or not labels:
        return
    classes, name = output[int(loss.options.get("axis", -1))], labels[0].name
    low, high = extremes(data, name)
    if low is None or high is None or (low >= 0 and high < classes):
        return
    raise DataError(
        f"label {name!r} has values from {low:g} to {high:g}, but the network {training.network.label} has {classes} "
        f"outputs, for classes 0 to {classes - 1}: {_class_remedy(labels[0], low, high, classes)}"
    )


def _class_remedy(label: ColumnSpec, low: float, high: float, classes: int) -> str:
    enough = f"give it {int(max(high, 0)) + 1} outputs, or mend the labels"
    if (low, high) != (1, classes):
        return enough
    name = label.name
    less = f"F.transform({name!r}, lambda y: y - 1)" if label.shape else f"df[{name!r}] - 1"
    counted = f"the classes are counted from 1: subtract 1, df.withColumn({name!r}, {less})"
    return f"{counted}; or, if 0 is a class that no row has, {enough}"


def extremes(data: DataSet, name: str) -> tuple[Optional[float], Optional[float]]:
    """Return the smallest and largest value of an array over all its rows; None where there is no row."""
    found = _array(data, name)
    return found.minimum, found.maximum


def is_whole(data: DataSet, column: ColumnSpec) -> bool:
    """Tell whether all numbers of an array are known to be whole ones."""
    return np.dtype(column.dtype).kind in "iu" or _array(data, column.name).is_whole


def _array(data: DataSet, name: str) -> SpooledArray:
    return next(array for array in data.spool.arrays if array.name == name)
