"""The content of a checkpoint: written by rank 0 into a fresh local folder, read by every rank on resume.

::

    parameters.params    structural name -> array, auxiliary states included (MXNet's own format)
    optimizer.params     state arrays of the optimizer, if it has any
    state.json           where training stands: steps, schedule, metrics so far; shapes and dtypes of the parameters
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.errors import Diverged, InputError
from mxspark.mx.state import finite
from mxspark.mx.state.optimizer import Updater
from mxspark.protocol import events
from mxspark.protocol.staged import StagedFile
from mxspark.system.files import sha256_of

PARAMETERS = "parameters.params"
OPTIMIZER = "optimizer.params"
STATE = "state.json"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes
    ----------
    params : dict of str to NDArray
        By structural name.
    optimizer : dict of str to NDArray
        As `Updater.state` names them.
    state : dict
        What was given as `meta` to :func:`snapshot`, and ``version``, ``mxnet``, ``optimizer``, ``parameters``.
    """

    params: dict[str, mx.nd.NDArray]
    optimizer: dict[str, mx.nd.NDArray]
    state: dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """All that belongs to a checkpoint, of one moment: copies, so that training may go on.

    `changing` are the names of the parameters that are no constants, and `rate` is the learning rate.
    """

    params: dict[str, mx.nd.NDArray]
    optimizer: dict[str, mx.nd.NDArray]
    state: dict[str, Any]
    meta: dict[str, Any]
    changing: tuple[str, ...]
    rate: float

    def write(self, folder: str) -> events.Staged:
        """Write it into `folder`, which is made if need be and holds nothing else.

        Raises
        ------
        Diverged
            If a parameter or an optimizer state is NaN or infinite.
        """
        step = int(self.meta["step"])
        self._refuse_not_finite({name: self.params[name] for name in self.changing}, "parameter")
        self._refuse_not_finite(self.optimizer, "optimizer state")
        os.makedirs(folder, exist_ok=True)
        mx.nd.save(os.path.join(folder, PARAMETERS), self.params)
        if self.optimizer:
            mx.nd.save(os.path.join(folder, OPTIMIZER), self.optimizer)
        with open(os.path.join(folder, STATE), "w", encoding="utf-8") as file:
            json.dump(self.state, file, indent=1)
        return staged("checkpoint", folder, step, int(self.meta["epoch"]), self.meta)

    def _refuse_not_finite(self, arrays: Mapping[str, mx.nd.NDArray], what: str) -> None:
        """Raise if a value is NaN or infinite: such a checkpoint would push the good ones out."""
        names = finite.bad(arrays)
        if names:
            raise Diverged(
                f"training has diverged at step {self.meta['step']} or before it: {finite.listed(what, names)}, at the "
                f"learning rate {self.rate:g}, and no checkpoint was made of it: lower the learning rate, set the "
                "optimizer's clip_gradient, or look for extreme values in the data"
            )


def snapshot(params: Mapping[str, gluon.Parameter], updater: Updater, meta: Mapping[str, Any]) -> Snapshot:
    """Have MXNet's engine copy parameters and optimizer states; returns before it has copied those that it trains.

    BatchNorm's running statistics are changed by its backward pass, of which the engine does not know: they are read
    when nothing runs, and are copied before anything else does.

    Parameters
    ----------
    params : mapping of str to gluon.Parameter
        By structural name, in the order the updater has them.
    updater : Updater
        Its progress is stored.
    meta : mapping
        ``step`` and ``epoch``, and whatever else resuming needs, as JSON.
    """
    arrays, progress = updater.state()
    mx.nd.waitall()
    values = {name: param.list_data()[0].copy() for name, param in params.items()}
    for name, param in params.items():
        if param.grad_req == "null":
            values[name].wait_to_read()
    state = {
        **meta,
        "version": VERSION,
        "mxnet": mx.__version__,
        "optimizer": progress,
        "parameters": {name: [list(a.shape), str(np.dtype(a.dtype))] for name, a in values.items()},
    }
    return Snapshot(
        values,
        {name: array.copy() for name, array in arrays.items()},
        state,
        dict(meta),
        changing=tuple(finite.may_change(params)),
        rate=updater.learning_rate,
    )


def restore_checkpoint(path: str) -> Checkpoint:
    """Read a checkpoint that was verified and copied to local disk.

    Raises
    ------
    InputError
        If it was written by a later version.
    """
    with open(os.path.join(path, STATE), encoding="utf-8") as file:
        state = json.load(file)
    if state["version"] > VERSION:
        raise InputError(
            f"the checkpoint at {path} has format {state['version']} and this version reads up to {VERSION}: "
            "use the version of mxspark that wrote it, or a later one"
        )
    optimizer = os.path.join(path, OPTIMIZER)
    return Checkpoint(
        params=dict(mx.nd.load(os.path.join(path, PARAMETERS))),
        optimizer=mx.nd.load(optimizer) if os.path.exists(optimizer) else {},
        state=state,
    )


def apply(checkpoint: Checkpoint, params: Mapping[str, gluon.Parameter], updater: Updater) -> None:
    """Put a checkpoint into an initialized network and its updater.

    Raises
    ------
    InputError
        If the network differs from the checkpoint's; the message names the first parameter that does.
    """
    stored = checkpoint.state["parameters"]
    for name in list(params) + [name for name in stored if name not in params]:
        there = _words(*stored[name]) if name in stored else "no such parameter"
        here = _words(params[name].shape, params[name].dtype) if name in params else "no such parameter"
        if there != here:
            raise InputError(
                f"the network is not the one of the checkpoint: parameter {name}: the checkpoint has {there}, the "
                f"network {here}: use the network the job was started with, or another job.dir"
            )
    if list(stored) != list(params):
        raise InputError(
            "the network is not the one of the checkpoint: it registers the same parameters in another order: use the "
            "network the job was started with, or another job.dir"
        )
    for name, param in params.items():
        param.set_data(checkpoint.params[name])
    updater.restore(checkpoint.optimizer, checkpoint.state["optimizer"])


def digest(params: Mapping[str, gluon.Parameter]) -> str:
    """Return the sha256 of names, shapes, dtypes and values: equal on two ranks only if every bit is."""
    total = hashlib.sha256()
    for name in sorted(params):
        value = params[name].list_data()[0].asnumpy()
        total.update(f"{name}\0{value.shape}\0{value.dtype}\0".encode())
        total.update(np.ascontiguousarray(value).data)
    return total.hexdigest()


def staged(kind: str, folder: str, step: int, epoch: int, meta: Mapping[str, Any]) -> events.Staged:
    """Describe a written folder: every file with its size and sha256."""
    files = tuple(_describe(folder, name) for name in sorted(os.listdir(folder)))
    return events.Staged(kind=kind, path=folder, step=step, epoch=epoch, files=files, meta=dict(meta))


def _describe(folder: str, name: str) -> StagedFile:
    path = Path(folder, name)
    return StagedFile(name=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def _words(shape: Iterable[int], dtype: Any) -> str:
    return f"{tuple(shape)} {np.dtype(dtype)}"
