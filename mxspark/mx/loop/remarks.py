"""What can be said of a job before its first step: no error, but to be known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from mxspark.data import overlap
from mxspark.data.reader import SpooledRows
from mxspark.data.signature import input_names
from mxspark.job import ends, losses, schedule_span
from mxspark.job.spec import WorkerSpec
from mxspark.mx.loop.other_rows import Made, made_of
from mxspark.mx.model import components, ctc
from mxspark.mx.model.network import Network

Shape = tuple[int, ...]

_ROWS = 6
#: What part of the validation rows may be training rows by chance.
_LEAK = 0.1
_COMPARED = 200
#: Of all parameters: they are copied, for an inference would leave convolution weights in another layout.
_LIMIT_BYTES = 256 << 20
#: Initializers of one value; with zeros no gradient comes so far, which the first steps show.
_ONE_VALUE = ("ones", "constant")
#: Numbers of channels that pictures have, and what an axis of theirs has at least.
_CHANNELS, _SIDE = (1, 3, 4), 8
# What leaves every axis where it is.
_IN_PLACE = ("Cast", "amp_cast", "_copy", "BatchNorm", "Activation", "Dropout")


def remarks(spec: WorkerSpec, network: Network, schedule: Any) -> Iterator[str]:
    """Yield one sentence each; `schedule` is what the optimizer has, or None."""
    yield from _unused(spec, network)
    yield from _ends(spec, network)
    yield from _schedule(spec, schedule)
    yield from _alike(spec, network)
    yield from _overlap(spec)
    yield from _given_away(spec, network)
    yield from _channels(spec, network)
    yield from _mixing(spec, network)
    yield from _filling(spec, network)


def _unused(spec: WorkerSpec, network: Network) -> Iterator[str]:
    used = {line.split()[1] for line in network.graph if line.startswith("input ")}
    for name, feature in zip(input_names(len(spec.features)), spec.features):
        if name not in used:
            yield (
                f"data.features.{feature.name} is not used: no output of the network {spec.training.network.label} "
                "depends on it"
            )


def _ends(spec: WorkerSpec, network: Network) -> Iterator[str]:
    loss, end = network.meant, network.ends[0]
    label = spec.labels[0].name
    seen = losses.seen(label, spec.training_data.spool.arrays)
    values = math.prod(network.output_shapes[0][1:])
    found = [ends.loss_warning(loss, end), ends.range_warning(loss, label, seen, end) if seen else None]
    found += [ends.threshold_warning(loss, metric, values, end) for metric in spec.training.metrics]
    found += [ends.metric_warning(metric, network.output_shapes[0]) for metric in spec.training.metrics]
    yield from filter(None, found)
    if loss.function is None and loss.name == "ctc" and len(spec.labels) == 1 and ctc.has_zeros_for_padding(spec):
        yield (
            f"label {label!r} has 0 behind the last class of a row, as if to fill it up, and for ctc that is a class "
            "like any other: put -1 there"
        )


def _schedule(spec: WorkerSpec, schedule: Any) -> Iterator[str]:
    named = components.named_schedule(schedule)
    if named is not None:
        steps = spec.training_data.plan.steps
        found = schedule_span.remark(named.name, named.options, steps, spec.training.epochs)
        yield from filter(None, [found])


def _alike(spec: WorkerSpec, network: Network) -> Iterator[str]:
    initializer = spec.training.initializer
    if initializer.function is not None or initializer.name not in _ONE_VALUE:
        return
    weights = [(name, parameter) for name, parameter in network.parameters.items() if len(parameter.shape) > 1]
    for name, parameter in weights[:-1]:  # the units of the last layer have a label each
        values = parameter.data().asnumpy()
        if values.shape[0] > 1 and (values == values.flat[0]).all():
            yield (
                f"training.initializer {initializer.name} makes all units of {name} the same, and they get the same "
                "gradients, so that they stay one unit: use xavier"
            )
            return


def _overlap(spec: WorkerSpec) -> Iterator[str]:
    training, validation = spec.training_data, spec.validation_data
    if validation is None or validation.spool == training.spool:  # a share of the same rows is of others
        return
    names = [column.name for column in (*spec.features, *spec.labels)]
    share = overlap.share_of_training(training, validation, names, spec.mapped_bytes)
    if share > _LEAK:
        yield (
            f"about {min(share, 1):.0%} of the validation rows are among the training rows, number for number, so that "
            "they do not show what the network makes of rows it has not seen; take them out of one of the two"
        )


def _given_away(spec: WorkerSpec, network: Network) -> Iterator[str]:
    """Say which feature holds the label, under whatever name; one of the label's own column the driver has seen."""
    features = {feature.name: feature for feature in spec.features}
    arrays, label = _some_rows(spec, [*features, spec.labels[0].name], _COMPARED), spec.labels[0]
    answer = arrays[label.name]
    is_class = losses.is_class_index(network.meant)
    if len(answer) < _COMPARED // 10 or (answer == answer[:1]).all():
        return
    for name, feature in features.items():
        values = arrays[name]
        is_same = is_class and values.shape == answer.shape and bool((values == answer).all())
        has_it = answer.ndim == 1 and values.ndim == 2 and bool((values == answer[:, None]).all(axis=0).any())
        if (is_same or has_it) and not set(feature.columns) & set(label.columns):
            yield (
                f"data.features.{name} {'is' if is_same else 'holds'} the label {label.name!r}, number for number, so "
                "that the network is given the answer; where it is to say what follows in a sequence, move the label"
            )


def _some_rows(spec: WorkerSpec, names: Sequence[str], count: int) -> Mapping[str, Any]:
    """Return some rows of arrays, spread over all."""
    places = np.linspace(0, spec.training_data.plan.rows_in_all - 1, count).astype(np.int64)
    return SpooledRows(spec.training_data, names, spec.mapped_bytes).gather(np.unique(places), names)


def _channels(spec: WorkerSpec, network: Network) -> Iterator[str]:
    features = dict(zip(input_names(len(spec.features)), spec.features))
    for name, layer in channels_last(network.symbol, network.input_shapes):
        shape = list(network.input_shapes[name][1:])
        yield (
            f"data.features.{features[name].name} has shape {shape} in a row, and the convolution {layer} takes the "
            f"first axis, {shape[0]}, for its channels: if the last is, put it first, F.transpose(x, (0, 3, 1, 2))"
        )


def channels_last(graph: mx.sym.Symbol, inputs: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """Yield each input whose last axis looks like channels, where a convolution takes the first for them, and its name.

    Parameters
    ----------
    inputs : mapping of str to tuple of int
        Shapes of one batch by the names of the graph's inputs.
    """
    nodes = json.loads(graph.tojson())["nodes"]
    for node in nodes:
        if node["op"] == "Convolution":
            name = _source(nodes, node["inputs"][0][0])
            shape = inputs.get(name, ())
            if len(shape) == 4 and shape[3] in _CHANNELS and min(shape[1:3]) >= _SIDE:
                yield name, node["name"]


def _source(nodes: Sequence[Mapping[str, Any]], place: int) -> str:
    """Return the name of the input that reaches a node as it is, or of what comes before."""
    node = nodes[place]
    while (node["op"] in _IN_PLACE or node["op"].endswith("_scalar")) and node["inputs"]:
        node = nodes[node["inputs"][0][0]]
    return str(node["name"])


def _mixing(spec: WorkerSpec, network: Network) -> Iterator[str]:
    names = [feature.name for feature in spec.features]
    # of large rows no more than a batch has
    rows = min(_ROWS, max(2, next(iter(network.input_shapes.values()))[0]))
    arrays = _some_rows(spec, names, rows)
    if mixes_rows(network, [mx.nd.array(arrays[name], dtype=arrays[name].dtype) for name in names]):
        yield (
            f"what the network {spec.training.network.label} makes of a row depends on the rows beside it, so that it "
            "is another one with another number of workers, and gives other numbers to whoever uses it: look for an "
            "axis of the rows that is reshaped, averaged or put through a softmax"
        )


def _filling(spec: WorkerSpec, network: Network) -> Iterator[str]:
    rows, batch_size = spec.training_data.plan.rows, spec.training_data.plan.batch_size
    nodes = json.loads(network.symbol.tojson())["nodes"]
    counts = any(node["op"] == "BatchNorm" and node["attrs"].get("use_global_stats") != "True" for node in nodes)
    if batch_size > rows and counts:
        yield (
            f"training.batch_size is {batch_size:,}, and there are {rows:,} training rows: BatchNorm counts those that "
            "fill up the batch, some rows more often than others, so that another number of workers trains another "
            f"model: set training.batch_size: {rows} or less"
        )


def mixes_rows(network: Network, inputs: Sequence[mx.nd.NDArray]) -> bool:
    """Tell whether a network mixes rows when it is used; BatchNorm and Dropout do so in training alone.

    Of a network that is very large, or whose parameters are all zeros, nothing is known.

    Parameters
    ----------
    inputs : sequence of NDArray
        Rows of each input of the network, in order.
    """
    arrays = {parameter.name: parameter.data() for parameter in network.parameters.values()}
    if sum(array.size * np.dtype(array.dtype).itemsize for array in arrays.values()) > _LIMIT_BYTES:
        return False
    copies = {name: array.copy() for name, array in arrays.items()}

    def outputs(some: Any, _: Any) -> Any:
        run = mx.nd.CachedOp(network.symbol)  # raises where an operator has no gradient
        fed = {**copies, **dict(zip(network.input_shapes, some))}
        found = run(*(fed[name] for name in network.symbol.list_inputs()))
        flat = [array.asnumpy().reshape(len(array), -1) for array in (found if isinstance(found, list) else [found])]
        return np.concatenate(flat, axis=1)

    return made_of(outputs, list(inputs), []) is Made.OF_OTHERS
