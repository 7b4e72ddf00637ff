"""Whether rows, network, loss and metrics fit each other: what can be known of that before the first step."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job import ends, losses
from mxspark.job.spec import WorkerSpec
from mxspark.mx.model import ctc, distributions, ids
from mxspark.mx.model import network as networks
from mxspark.mx.model.network import Network

_OWN_GRADIENT = frozenset(
    {"LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "MakeLoss", "SVMOutput"}
    | {"SoftmaxOutput", "make_loss"}
)


def check(network: Network, spec: WorkerSpec, rank: int, size: int, get_on: ids.GetOn) -> None:
    """Refuse a job of which MXNet would make numbers that mean something else.

    Each rank looks at its share of the rows; `get_on` is told how many of how many it has looked at.

    Raises
    ------
    DataError, InputError, TrainingCodeError
        Naming what does not fit, and what to change.
    """
    _refuse_own_gradients(network, spec)
    training = replace(spec.training, loss=network.meant)
    for data in filter(None, (spec.training_data, spec.validation_data)):
        networks.check_labels(training, network.output_shapes[0], spec.labels, data)
    ids.check(network, spec, rank, size, get_on)
    networks.check_outputs(training, network.output_shapes, spec.labels)
    if network.meant.name == "ctc":
        ctc.check(spec, network.output_shapes[0], rank, size, get_on)
    distributions.check(spec, network.meant, network.output_shapes[0], rank, size, get_on)
    _check_ends(network, spec)


def _refuse_own_gradients(network: Network, spec: WorkerSpec) -> None:
    """Refuse operators of MXNet's older interface that hold a loss, and take no notice of what comes back from ours."""
    for node in json.loads(network.symbol.tojson())["nodes"]:
        if node["op"] in _OWN_GRADIENT and node.get("attrs", {}).get("out_grad") != "True":
            raise TrainingCodeError(
                f"the network {spec.training.network.label} has a {node['op']}, {node['name']}, which sends back a "
                "gradient of its own, whatever training.loss and the labels say: remove it, and give training.loss "
                "what it was for"
            )


def _check_ends(network: Network, spec: WorkerSpec) -> None:
    loss, end = network.meant, network.ends[0]
    found = [ends.loss_refusal(loss, end), ends.axis_refusal(loss, end, len(network.output_shapes[0]))]
    values = math.prod(network.output_shapes[0][1:])
    label = losses.seen(spec.labels[0].name, spec.training_data.spool.arrays)
    found += [ends.threshold_refusal(loss, metric, values, label) for metric in spec.training.metrics]
    for problem in filter(None, found):
        raise InputError(problem)
