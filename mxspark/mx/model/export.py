"""The portable model: files plain MXNet reads, and a signature that says what goes in and what comes out."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.errors import TrainingCodeError
from mxspark.job.spec import WorkerSpec
from mxspark.mx.state.checkpoint_files import staged
from mxspark.protocol import events
from mxspark.version import __version__

MODEL = "model"
SIGNATURE = "signature.json"
FORMAT = 1


def trace(net: gluon.HybridBlock, inputs: int) -> mx.sym.Symbol:
    """Return the network as a symbol, its inputs called ``data``, or ``data0``, ``data1``, … if there are several.

    The network itself, with the graph it trains with, stays as it is; parameters need not be initialized.

    Raises
    ------
    TrainingCodeError
        If it cannot be written as a graph.
    """
    try:
        out = net(*(mx.sym.var(name) for name in _input_names(inputs)))
        parts = out if isinstance(out, (list, tuple)) else [out]
        return mx.sym.Group(list(parts)) if len(parts) > 1 else parts[0]
    except Exception as error:
        raise TrainingCodeError(
            f"the network cannot be exported: tracing it without data raised {type(error).__name__}: {error}: use "
            "F in hybrid_forward, and neither the shape nor the values of arrays"
        ) from error


def stage_model(
    folder: str, net: gluon.HybridBlock, spec: WorkerSpec, kind: str, *, step: int, epoch: int
) -> events.Staged:
    """Write the network as it is now.

    Parameters
    ----------
    folder : str
        Made here if need be; holds nothing else. Gets ``model-symbol.json``, ``model-0000.params``, ``signature.json``.
    net : gluon.HybridBlock
        Initialized; training can go on with it as if nothing had happened.
    spec : WorkerSpec
        Its features are the network's inputs.
    kind : str
        ``model`` or ``best``.
    """
    symbol = trace(net, len(spec.features))
    auxiliary, arguments = set(symbol.list_auxiliary_states()), set(symbol.list_arguments())
    arrays = {}
    for name, param in net.collect_params().items():
        if name in auxiliary or name in arguments:
            arrays[("aux:" if name in auxiliary else "arg:") + name] = param.list_data()[0]
    os.makedirs(folder, exist_ok=True)
    symbol.save(os.path.join(folder, f"{MODEL}-symbol.json"))
    mx.nd.save(os.path.join(folder, f"{MODEL}-0000.params"), arrays)
    with open(os.path.join(folder, SIGNATURE), "w", encoding="utf-8") as file:
        json.dump(_signature(symbol, spec, kind, step, epoch), file, indent=1)
    return staged(kind, folder, step, epoch, {})


def _input_names(inputs: int) -> list[str]:
    return ["data"] if inputs == 1 else [f"data{place}" for place in range(inputs)]


def _signature(symbol: mx.sym.Symbol, spec: WorkerSpec, kind: str, step: int, epoch: int) -> dict[str, Any]:
    loss = spec.training.loss
    return {
        "format": FORMAT,
        "kind": kind,
        "step": step,
        "epoch": epoch,
        "inputs": [
            {
                "name": name,
                "array": feature.name,
                "columns": list(feature.columns),
                "shape": [None, *(feature.shape or ())],
                "dtype": feature.dtype,
                "scale": feature.scale,
            }
            for name, feature in zip(_input_names(len(spec.features)), spec.features)
        ],
        "outputs": _outputs(symbol, spec),
        "labels": [
            {
                "array": label.name,
                "columns": list(label.columns),
                "shape": [None, *(label.shape or ())],
                "dtype": label.dtype,
                "scale": label.scale,
                "classes": label.classes,
            }
            for label in spec.labels
        ],
        "loss": {"name": loss.name, "options": loss.options},
        "mxspark": __version__,
        "mxnet": mx.__version__,
    }


def _outputs(symbol: mx.sym.Symbol, spec: WorkerSpec) -> list[dict[str, Any]]:
    """Name, shape and dtype of each output; an axis that follows the number of rows is None."""
    used = set(symbol.list_inputs())
    named = zip(_input_names(len(spec.features)), spec.features)
    features = {name: feature for name, feature in named if name in used}
    shapes = [
        symbol.infer_shape(**{name: (rows, *(feature.shape or ())) for name, feature in features.items()})[1]
        for rows in (2, 3)
    ]
    types = symbol.infer_type(**{name: np.dtype(feature.dtype) for name, feature in features.items()})[1]
    return [
        {"name": name, "shape": _free(*pair), "dtype": str(np.dtype(kind))}
        for name, pair, kind in zip(symbol.list_outputs(), zip(*shapes), types)
    ]


def _free(two: tuple[int, ...], three: tuple[int, ...]) -> list[Optional[int]]:
    return [size if size == other else None for size, other in zip(two, three)]


def load_model(folder: str) -> gluon.SymbolBlock:
    """Return the network of a folder that :func:`stage_model` wrote."""
    with open(os.path.join(folder, SIGNATURE), encoding="utf-8") as file:
        names = [each["name"] for each in json.load(file)["inputs"]]
    files = [os.path.join(folder, name) for name in (f"{MODEL}-symbol.json", f"{MODEL}-0000.params")]
    with warnings.catch_warnings():
        # MXNet asks the graph for the types of its inputs, which it does not hold, and then takes those of the file
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments", UserWarning)
        return gluon.SymbolBlock.imports(files[0], names, files[1])
