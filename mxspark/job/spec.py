"""What crosses from the driver into agents and role processes, as plain frozen dataclasses."""

from __future__ import annotations

import base64
import functools
import importlib
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from mxspark.data.dataset import DataSet
from mxspark.data.spool import ColumnSpec
from mxspark.data.weights import Weighing
from mxspark.job.digest import digest_of
from mxspark.protocol.specs import AgentSpec, DriverAgentSpec, Limits, RoleSpec

__all__ = [
    "AgentSpec",
    "BestBy",
    "CheckpointSpec",
    "Component",
    "DataSet",
    "DriverAgentSpec",
    "Function",
    "Limits",
    "Restore",
    "RoleSpec",
    "TrainingSpec",
    "WorkerSpec",
]


@dataclass(frozen=True)
class Function:
    """A function of the user: importable by path, or shipped by value.

    Attributes
    ----------
    label : str
        How messages and the job's record call it.
    path : str or None
        ``package.module:attribute``.
    pickle : str or None
        base64 of a cloudpickle, made by the driver for its own roles; never read from anywhere else.
    digest : str
        Of the code of a shipped one: another for another function of the same label.
    """

    label: str
    path: Optional[str] = None
    pickle: Optional[str] = None
    digest: str = ""

    @classmethod
    def ship(cls, function: Callable[..., Any]) -> Function:
        """Ship a function by value.

        Raises
        ------
        InputError
            Naming what it uses that cannot leave this process.
        """
        from mxspark.job import shipping  # cloudpickle, which agents do without

        label = label_of(function)
        return cls(label=label, pickle=shipping.pickled(label, function), digest=digest_of(function))

    def load(self) -> Callable[..., Any]:
        """Return the function, in the process that calls it."""
        if self.pickle is not None:
            import cloudpickle

            loaded: Callable[..., Any] = cloudpickle.loads(base64.b64decode(self.pickle))
            return loaded
        module, _, attribute = (self.path or "").partition(":")
        found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
        result: Callable[..., Any] = found
        return result


def label_of(function: Callable[..., Any]) -> str:
    """Return what messages, metrics and records call a function that was given as such."""
    while isinstance(function, functools.partial):  # its repr has an address: another one in each process
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '?')}:{named.__qualname__}"


@dataclass(frozen=True)
class Component:
    """A loss, optimizer, initializer, schedule or metric: a known name with options, or the user's function."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    function: Optional[Function] = None


@dataclass(frozen=True)
class BestBy:
    """What names the best epoch so far.

    Attributes
    ----------
    metric : str
        As it is reported: ``loss``, or one of `metric.reported_names`.
    side : str
        Of which rows: ``training`` or ``validation``.
    direction : str
        Which is better: ``max`` or ``min``.
    """

    metric: str
    side: str
    direction: str

    def is_better(self, value: float, than: Optional[float]) -> bool:
        """Tell whether a value beats the best one so far, of which there may be none."""
        if than is None:
            return True
        return value < than if self.direction == "min" else value > than


@dataclass(frozen=True)
class TrainingSpec:
    """What to train and how; see ``config/job.yaml`` for the meaning of each. `loop` is a row of `loops.LOOPS`.

    `class_weights` are pairs of a class and its weight.
    """

    network: Function
    loss: Component
    optimizer: Component
    schedule: Optional[Component]
    initializer: Component
    metrics: tuple[Component, ...]
    best_by: BestBy
    epochs: int
    seed: int
    loop: str = "gluon"
    class_weights: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class CheckpointSpec:
    """When rank 0 stages a checkpoint: after every `every_epochs` epochs, every `every_steps` steps; None is never."""

    every_epochs: Optional[int]
    every_steps: Optional[int]


@dataclass(frozen=True)
class BuildOrder:
    """What a process like a worker's shall build, see :mod:`mxspark.mx.check`: the network for batches of such shapes.

    Without `training` it only imports MXNet.
    """

    training: Optional[TrainingSpec] = None
    inputs: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Restore:
    """A committed checkpoint, verified and copied to local disk.

    Attributes
    ----------
    keeps_best : bool
        Whether the best epoch that it remembers was found by what would find it now.
    """

    path: str
    step: int
    epoch: int
    step_in_epoch: int
    keeps_best: bool = True


@dataclass(frozen=True)
class WorkerSpec:
    """All a worker needs beside its environment, the same for every rank.

    Attributes
    ----------
    features, labels : tuple of ColumnSpec
        Arrays of a batch, in the order the network (features) and the loss (labels) take them.
    staging : str
        Local folder rank 0 may write to; every staged folder is one of its children.
    exchange : str
        ``hierarchical`` or ``kvstore``.
    mapped_bytes : int or None
        How much of the spooled rows a worker maps at once, where that counts as its memory.
    beat_s : float
        How often at most a worker says how far it is.
    graph : tuple of str or None
        What the network of this job computes, where that is known; another one is refused.
    weight : ColumnSpec or None
        What the rows count, in loss and metrics; None where they count the same.
    """

    run_id: str
    size: int
    features: tuple[ColumnSpec, ...]
    labels: tuple[ColumnSpec, ...]
    training_data: DataSet
    validation_data: Optional[DataSet]
    training: TrainingSpec
    checkpoint: CheckpointSpec
    restore: Optional[Restore]
    staging: str
    exchange: str
    mapped_bytes: Optional[int] = None
    beat_s: float = 0.2
    graph: Optional[tuple[str, ...]] = None
    weight: Optional[ColumnSpec] = None

    @property
    def weighed_by(self) -> Optional[str]:
        """The key of the job that weighs its rows in metrics too."""
        return None if self.weight is None else "data.weight"

    @property
    def weighing(self) -> Weighing:
        """How the rows are weighed."""
        column = None if self.weight is None else self.weight.name
        classes = self.training.class_weights
        return Weighing(column, self.labels[0].name if classes else None, classes)
