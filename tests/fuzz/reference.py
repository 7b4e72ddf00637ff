"""A slow obvious training in plain MXNet: rows from lists, one network, ``gluon.Trainer``, metrics by hand in numpy.

Of mxspark it asks one thing: the order of the rows, which has tests of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from fuzz.cases import Case, Rows
from fuzz.networks import network
from mxspark.data.plan import EVERY, TRAINING, VALIDATION, Plan

LOSSES = {
    "l2": gluon.loss.L2Loss,
    "l1": gluon.loss.L1Loss,
    "huber": gluon.loss.HuberLoss,
    "softmax_cross_entropy": gluon.loss.SoftmaxCrossEntropyLoss,
    "kl_div": gluon.loss.KLDivLoss,
    "hinge": gluon.loss.HingeLoss,
    "squared_hinge": gluon.loss.SquaredHingeLoss,
    "logistic": gluon.loss.LogisticLoss,
    "sigmoid_binary_cross_entropy": gluon.loss.SigmoidBCELoss,
}
OPTIMIZERS = {
    "sgd": mx.optimizer.SGD,
    "nag": mx.optimizer.NAG,
    "adam": mx.optimizer.Adam,
    "adagrad": mx.optimizer.AdaGrad,
    "adadelta": mx.optimizer.AdaDelta,
    "rmsprop": mx.optimizer.RMSProp,
    "nadam": mx.optimizer.Nadam,
    "ftrl": mx.optimizer.Ftrl,
    "ftml": mx.optimizer.FTML,
    "lamb": mx.optimizer.LAMB,
    "lars": mx.optimizer.LARS,
}
SCHEDULES = {
    "factor": mx.lr_scheduler.FactorScheduler,
    "multifactor": mx.lr_scheduler.MultiFactorScheduler,
    "poly": mx.lr_scheduler.PolyScheduler,
    "cosine": mx.lr_scheduler.CosineScheduler,
}


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes
    ----------
    initial, parameters : dict of str to ndarray
        Before the first step, and after the last.
    epochs : list of dict
        ``training`` and ``validation`` metrics of each, and the ``rows`` that were trained on.
    """

    initial: dict[str, Any]
    parameters: dict[str, Any]
    epochs: list[dict[str, Any]]

    @property
    def is_finite(self) -> bool:
        """Whether all parameters and metrics are."""
        metrics = [
            value for epoch in self.epochs for side in ("training", "validation") for value in epoch[side].values()
        ]
        return bool(np.isfinite(metrics).all() and all(np.isfinite(value).all() for value in self.parameters.values()))


def has_no_rows(case: Case) -> bool:
    """Tell whether the share for validation leaves no row on one of the two sides."""
    parts = (TRAINING, VALIDATION) if case.job["data"]["validation"]["fraction"] else ()
    return not all(_plan(case, part).rows for part in parts)


def train(case: Case) -> Trained:
    """Train a job that has no flaw."""
    training = case.job["training"]
    net = network(case.inputs, case.outputs, case.hidden, case.norm)()
    net.initialize()
    loss = LOSSES[training["loss"]["name"]](**_options(training["loss"]))
    arrays, labels = _arrays(case, case.rows)
    in_loss, in_metrics = _weights(case, case.rows, labels)
    net(*(mx.nd.array(array[:1], dtype=array.dtype) for array in arrays))  # its parameters get their shapes
    initial = _values(net)
    trainer = gluon.Trainer(list(net.collect_params().values()), _optimizer(training), kvstore=None)
    plan = _plan(case)
    epochs = []
    for epoch in range(training["epochs"]):
        counted = _Counted(training["metrics"])
        for ids in plan.batches(epoch):
            inputs = [mx.nd.array(array[ids], dtype=array.dtype) for array in arrays]
            with autograd.record():
                outputs = net(*inputs)
                losses = loss(outputs, mx.nd.array(labels[ids]))
            losses.backward(mx.nd.array(in_loss[ids] / in_loss[ids].mean()))
            trainer.step(len(ids))
            counted.add(losses.asnumpy(), outputs.asnumpy(), labels[ids], in_loss[ids], in_metrics[ids])
        epochs.append({"training": counted.values(), "validation": _validate(case, net, loss), "rows": counted.rows})
    return Trained(initial, _values(net), epochs)


def _values(net: Any) -> dict[str, Any]:
    return {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}


def _options(component: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in component.items() if key != "name"}


def _optimizer(training: dict[str, Any]) -> Any:
    options, schedule = _options(training["optimizer"]), training["schedule"]
    if schedule is not None:
        rate = options["learning_rate"]
        options["lr_scheduler"] = SCHEDULES[schedule["name"]](base_lr=rate, **_options(schedule))
    return OPTIMIZERS[training["optimizer"]["name"]](**options)


def _plan(case: Case, part: str = TRAINING) -> Plan:
    data, training = case.job["data"], case.job["training"]
    fraction = data["validation"]["fraction"]
    return Plan(
        rows_in_all=sum(case.counts),
        batch_size=training["batch_size"],
        seed=training["seed"],
        part=part if fraction else EVERY,
        fraction=fraction,
        shuffle=data["shuffle"] != "none" and part == TRAINING,
        block_rows=data["block_rows"],
        window_blocks=max(1, data["window_rows"] // data["block_rows"]),
    )


def _arrays(case: Case, rows: Rows) -> tuple[list[Any], Any]:
    """Return the arrays of the network's inputs and the labels, as the job declares them."""
    data = case.job["data"]
    inputs = []
    for name, options in data["features"].items():
        columns = [_column(case, column, rows) for column in options.get("columns", [name])]
        array = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
        inputs.append(_converted(array, options))
    return inputs, _converted(_column(case, "y", rows), data["label"]["y"]).astype(np.float32)


def _column(case: Case, name: str, rows: Rows) -> Any:
    array = np.array(rows[name])
    in_float32 = case.source == "frame" and case.kinds[name] in ("float", "array<float>")
    return array.astype(np.float32) if in_float32 else array


def _converted(array: Any, options: dict[str, Any]) -> Any:
    dtype, shape = options.get("dtype", "float32"), options.get("shape")
    array = (array * options["scale"] if "scale" in options else array).astype(dtype)
    return array if shape is None else array.reshape(len(array), *shape)


def _validate(case: Case, net: Any, loss: Any) -> dict[str, float]:
    if case.validation is None and not case.job["data"]["validation"]["fraction"]:
        return {}
    rows = case.rows if case.validation is None else case.validation
    inputs, labels = _arrays(case, rows)
    in_loss, in_metrics = _weights(case, rows, labels)
    ids = np.arange(len(labels))
    if case.validation is None:
        ids = np.concatenate(list(_plan(case, VALIDATION).batches(0)))
    outputs = net(*(mx.nd.array(array[ids], dtype=array.dtype) for array in inputs))
    losses = loss(outputs, mx.nd.array(labels[ids]))
    counted = _Counted(case.job["training"]["metrics"])
    counted.add(losses.asnumpy(), outputs.asnumpy(), labels[ids], in_loss[ids], in_metrics[ids])
    return counted.values()


def _weights(case: Case, rows: Rows, labels: Any) -> tuple[Any, Any]:
    """Return what each row counts in the loss, and in metrics."""
    own = np.array(rows["w"], dtype=np.float64) if case.job["data"]["weight"] else np.ones(len(labels))
    of_class = case.job["training"]["class_weights"] or {}
    return own * np.array([of_class.get(int(label), 1.0) if of_class else 1.0 for label in labels]), own


class _Counted:
    """Loss and metrics as weighted sums over rows."""

    def __init__(self, metrics: list[Any]) -> None:
        self.metrics = [metric if isinstance(metric, dict) else {"name": metric} for metric in metrics]
        self.rows = 0
        self.sums: dict[str, float] = {"loss": 0.0, **{metric["name"]: 0.0 for metric in self.metrics}}
        self.weights = {name: 0.0 for name in self.sums}

    def add(self, losses: Any, outputs: Any, labels: Any, in_loss: Any, in_metrics: Any) -> None:
        self.rows += len(losses)
        self._count("loss", losses.astype(np.float64), in_loss)
        for metric in self.metrics:
            values = [_of_row(metric, output, label) for output, label in zip(outputs.astype(np.float64), labels)]
            self._count(metric["name"], values, in_metrics)

    def _count(self, name: str, values: Any, weights: Any) -> None:
        self.sums[name] += float(np.dot(values, weights))
        self.weights[name] += float(weights.sum())

    def values(self) -> dict[str, float]:
        means = {name: total / self.weights[name] for name, total in self.sums.items()}
        finish = {"rmse": math.sqrt, "perplexity": math.exp}
        return {name: finish.get(name, float)(mean) for name, mean in means.items()}


def _of_row(metric: dict[str, Any], output: Any, label: Any) -> float:
    name = metric["name"]
    if name in ("mae", "mse", "rmse"):
        difference = output - np.reshape(label, output.shape)
        return float(np.mean(np.abs(difference) if name == "mae" else difference**2))
    if name == "binary_accuracy":
        return float((output[0] > 0) == (label > 0))  # 0 and 1, or the -1 and 1 of a hinge
    if name == "accuracy":
        return float(np.argmax(output) == label)
    if name == "top_k_accuracy":
        return float(label in np.argsort(output)[-metric["k"] :])
    shifted = output - output.max()
    return float(np.log(np.exp(shifted).sum()) - shifted[int(label)])
