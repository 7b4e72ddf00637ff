"""What can be said of a job before its first step: no error, but to be known."""

from __future__ import annotations

from collections.abc import Iterator

import mxnet as mx
import numpy as np

from mxspark.data.reader import SpooledRows
from mxspark.data.signature import input_names
from mxspark.job import ends
from mxspark.job.spec import WorkerSpec
from mxspark.mx.loop import row_mixing
from mxspark.mx.model import output_end
from mxspark.mx.model.channels import channels_last
from mxspark.mx.model.network import Network, extremes

_ROWS = 6


def remarks(spec: WorkerSpec, network: Network) -> Iterator[str]:
    """Yield one sentence each."""
    yield from _unused(spec, network)
    yield from _ends(spec, network)
    yield from _channels(spec, network)
    yield from _mixing(spec, network)


def _unused(spec: WorkerSpec, network: Network) -> Iterator[str]:
    used = {line.split()[1] for line in network.graph if line.startswith("input ")}
    for name, feature in zip(input_names(len(spec.features)), spec.features):
        if name not in used:
            yield (
                f"data.features.{feature.name} is not used: no output of the network {spec.training.network.label} "
                "depends on it"
            )


def _ends(spec: WorkerSpec, network: Network) -> Iterator[str]:
    end, label = output_end.ends(network.symbol)[0], spec.labels[0].name
    low, high = extremes(spec.training_data, label)
    found = [ends.loss_warning(spec.training.loss, end)]
    if low is not None and high is not None:
        found.append(ends.range_warning(spec.training.loss, label, low, high, end))
    yield from filter(None, found)


def _channels(spec: WorkerSpec, network: Network) -> Iterator[str]:
    features = dict(zip(input_names(len(spec.features)), spec.features))
    for name, layer in channels_last(network.symbol, network.input_shapes):
        shape = list(network.input_shapes[name][1:])
        yield (
            f"data.features.{features[name].name} has shape {shape} in a row, and the convolution {layer} takes the "
            f"first axis, {shape[0]}, for its channels: if the last is, put it first, F.transpose(x, (0, 3, 1, 2))"
        )


def _mixing(spec: WorkerSpec, network: Network) -> Iterator[str]:
    names = [feature.name for feature in spec.features]
    places = np.linspace(0, spec.training_data.plan.rows_in_all - 1, _ROWS).astype(np.int64)
    arrays = SpooledRows(spec.training_data, names, spec.mapped_bytes).gather(np.unique(places), names)
    inputs = [mx.nd.array(arrays[name], dtype=arrays[name].dtype) for name in names]
    if row_mixing.mixes_rows(network, inputs):
        yield (
            f"what the network {spec.training.network.label} makes of a row depends on the rows beside it, so that it "
            "is another one with another number of workers, and gives other numbers to whoever uses it: look for an "
            "axis of the rows that is reshaped, averaged or put through a softmax"
        )
