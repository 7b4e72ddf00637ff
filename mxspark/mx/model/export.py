"""The portable model: files plain MXNet reads, and a signature that says what goes in and what comes out."""

from __future__ import annotations

import os
import warnings

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.data.signature import FORMAT, Loss, Output, Shape, Signature, input_names, inputs_of, labels_of
from mxspark.errors import TrainingCodeError
from mxspark.job.spec import WorkerSpec
from mxspark.mx.state.checkpoint_files import staged
from mxspark.protocol import events
from mxspark.version import __version__

MODEL = "model"


def trace(net: gluon.HybridBlock, inputs: int) -> mx.sym.Symbol:
    """Return the network as a symbol, its inputs called ``data``, or ``data0``, ``data1``, … if there are several.

    The network itself, with the graph it trains with, stays as it is; parameters need not be initialized.

    Raises
    ------
    TrainingCodeError
        If it cannot be written as a graph.
    """
    try:
        out = net(*(mx.sym.var(name) for name in input_names(inputs)))
        parts = out if isinstance(out, (list, tuple)) else [out]
        return mx.sym.Group(list(parts)) if len(parts) > 1 else parts[0]
    except TrainingCodeError:  # it has our words already
        raise
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
    _describe(symbol, spec, kind, step=step, epoch=epoch).write(folder)
    return staged(kind, folder, step, epoch, {})


def _describe(symbol: mx.sym.Symbol, spec: WorkerSpec, kind: str, *, step: int, epoch: int) -> Signature:
    return Signature(
        format=FORMAT,
        kind=kind,
        step=step,
        epoch=epoch,
        inputs=inputs_of(spec.features),
        outputs=_outputs(symbol, spec),
        labels=labels_of(spec.labels),
        loss=Loss(spec.training.loss.name, spec.training.loss.options),
        mxspark=__version__,
        mxnet=mx.__version__,
    )


def _outputs(symbol: mx.sym.Symbol, spec: WorkerSpec) -> tuple[Output, ...]:
    """Name, shape and dtype of each output; an axis that follows the number of rows is None."""
    used = set(symbol.list_inputs())
    named = zip(input_names(len(spec.features)), spec.features)
    features = {name: feature for name, feature in named if name in used}
    shapes = [
        symbol.infer_shape(**{name: (rows, *(feature.shape or ())) for name, feature in features.items()})[1]
        for rows in (2, 3)
    ]
    types = symbol.infer_type(**{name: np.dtype(feature.dtype) for name, feature in features.items()})[1]
    return tuple(
        Output(name, _free(*pair), str(np.dtype(kind)))
        for name, pair, kind in zip(symbol.list_outputs(), zip(*shapes), types)
    )


def _free(two: tuple[int, ...], three: tuple[int, ...]) -> Shape:
    return tuple(size if size == other else None for size, other in zip(two, three))


def load_model(folder: str) -> gluon.SymbolBlock:
    """Return the network of a folder that :func:`stage_model` wrote."""
    names = [each.name for each in Signature.read(folder).inputs]
    files = [os.path.join(folder, name) for name in (f"{MODEL}-symbol.json", f"{MODEL}-0000.params")]
    with warnings.catch_warnings():
        # MXNet asks the graph for the types of its inputs, which it does not hold, and then takes those of the file
        warnings.filterwarnings("ignore", "Cannot decide type for the following arguments", UserWarning)
        return gluon.SymbolBlock.imports(files[0], names, files[1])
