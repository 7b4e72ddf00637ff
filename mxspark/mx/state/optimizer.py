"""Updates on the worker: MXNet's own optimizers, with state made for exact resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.errors import InputError, InternalError
from mxspark.job.spec import Component
from mxspark.mx.model import components
from mxspark.mx.state import making, rates
from mxspark.mx.state.attributes import Progress
from mxspark.mx.state.division import Division, division
from mxspark.mx.state.leaves import flatten

LOG = logging.getLogger(__name__)

#: Attributes of every optimizer that are constants, wiring, or stored by name in the state's meta.
_NOT_PROGRESS = frozenset(
    {"rescale_grad", "lr_scheduler", "param_dict", "num_update", "_all_index_update_counts", "_index_update_count"}
)
_REPLAYED = (
    mx.lr_scheduler.FactorScheduler,
    mx.lr_scheduler.MultiFactorScheduler,
    mx.lr_scheduler.PolyScheduler,
    mx.lr_scheduler.CosineScheduler,
)


@dataclass(frozen=True)
class Target:
    """What is updated at once: a parameter, or a part of what lies side by side of several.

    Attributes
    ----------
    index : int
        Of the parameter, or of the first of them: all have its factors of learning rate and decay, and its count.
    weight, gradient : NDArray
        The values, and where the sums of their gradients are.
    state : NDArray, tuple or None
        The optimizer's, as it makes it.
    """

    index: int
    weight: mx.nd.NDArray
    gradient: mx.nd.NDArray
    state: Any


class Updater:
    """One optimizer over the parameters of a network.

    Parameters
    ----------
    component : Component
        The optimizer: a name of `catalog.OPTIMIZERS`, or a function that returns an ``mxnet.optimizer.Optimizer``.
    schedule : Component or None
        The learning-rate schedule.
    params : sequence of gluon.Parameter
        All parameters, in an order that is the same in every run; those with ``grad_req`` null are left alone.

    Notes
    -----
    What :meth:`state` gives is progress only. Constants such as the learning rate always come from `component`, so a
    resumed run with another one uses it; MXNet's own schedules are replayed up to the step reached. An optimizer or
    schedule of the user gets back the attributes that had changed since it was made.
    """

    def __init__(self, component: Component, schedule: Optional[Component], params: Sequence[gluon.Parameter]) -> None:
        self._params = tuple(params)
        self._optimizer = making.build_optimizer(component)
        self._optimizer.param_dict = dict(enumerate(self._params))
        self._schedule = _attach_schedule(self._optimizer, schedule)
        self._scale = self._optimizer.rescale_grad  # the user's, by which the division by rows is multiplied
        self._stock = mx.optimizer.get_updater(self._optimizer)
        self._targets: Optional[tuple[Target, ...]] = None
        self._kept: Mapping[str, mx.nd.NDArray] = {}
        # Watched from here on, after everything that is wired once: what differs later is progress.
        self._progress = Progress(self._optimizer, f"optimizer {component.name}", _NOT_PROGRESS)
        self._schedule_progress = Progress(self._schedule, "schedule " + (schedule.name if schedule else ""))

    def update(self, rows: int, gradients: Optional[Sequence[mx.nd.NDArray]] = None) -> None:
        """Apply gradients, each a sum over `rows` rows, to every parameter that takes one.

        `gradients` are in the order of those parameters; their own unless given.

        The stock updater's agreement with ``gluon.Trainer.step(rows)`` is what keeps every optimizer's arithmetic.
        """
        if rows < 1:
            raise InternalError(f"an update over {rows} rows was asked for; a step has at least one")
        # Rows of all ranks, known before the sums are there: the last batch of an epoch is smaller.
        self._optimizer.rescale_grad = self._scale / rows
        if self._targets is not None:
            self._update_share(self._targets)
        else:
            self._update_all(gradients)
        if self._optimizer.lr_scheduler is not None:
            self._optimizer.lr_scheduler(self._optimizer.num_update)  # AdaDelta never asks, and the end would be missed

    def _update_all(self, gradients: Optional[Sequence[mx.nd.NDArray]]) -> None:
        trained = self._trained()
        given = [param.list_grad()[0] for _, param in trained] if gradients is None else list(gradients)
        if _may_write(self._optimizer):
            given = [gradient.copy() for gradient in given]  # the sums lie where the other workers read them too
        self._stock([index for index, _ in trained], given, [param.list_data()[0] for _, param in trained])

    def _update_share(self, targets: Sequence[Target]) -> None:
        # Counts go on for those that others update, too: all have one number of updates, and a checkpoint has them all.
        mine = {target.index for target in targets}
        self._optimizer._update_count([index for index, _ in self._trained() if index not in mine])
        indices = [target.index for target in targets]
        self._stock(indices, [target.gradient for target in targets], [target.weight for target in targets])

    @property
    def division(self) -> Division:
        """How updates may be divided over the workers of a host."""
        if self._schedule is not None and not self._replays:
            return Division.NOTHING  # a schedule of the user's may count how often it is asked
        return division(self._optimizer)

    def factors(self, index: int) -> tuple[float, float, int]:
        """Return what sets a parameter apart from others: its factors of rate and decay, and its updates so far."""
        param = self._params[index]
        return param.lr_mult, param.wd_mult, self._counts.get(index, self._optimizer.begin_num_update)

    def new_state(self, index: int, weight: mx.nd.NDArray) -> Any:
        """Return the state that the optimizer begins with for an array."""
        return self._optimizer.create_state_multi_precision(index, weight)

    def restored(self, index: int) -> list[mx.nd.NDArray]:
        """Return the arrays kept of a parameter, in order; none before its first update."""
        return list(flatten("", self._stock.states.get(index)).values())

    def divide(self, targets: Sequence[Target], kept: Mapping[str, mx.nd.NDArray]) -> None:
        """Update these from now on and nothing else.

        Parameters
        ----------
        targets : sequence of Target
            This worker's.
        kept : mapping of str to NDArray
            The state of all parameters, as :meth:`state` names it, wherever it is updated.
        """
        self._targets, self._kept = tuple(targets), kept
        self._stock.states = {target.index: target.state for target in targets}
        self._stock.states_synced = {target.index: True for target in targets}

    @property
    def schedule(self) -> Optional[Callable[[int], float]]:
        """What says the learning rate of an update, if something does."""
        schedule: Optional[Callable[[int], float]] = self._schedule
        return schedule

    @property
    def learning_rate(self) -> float:
        """The rate of the update done last, before it of the first; the schedule's, without a parameter's factor."""
        return float(self._optimizer.learning_rate)

    def state(self) -> tuple[dict[str, mx.nd.NDArray], dict[str, Any]]:
        """Return the progress made.

        Returns
        -------
        arrays : dict of str to NDArray
            The live state arrays, not copies, as ``<index of the parameter>[.<place in its state>]*``.
        meta : dict
            Update counts and changed scalars of optimizer and schedule, as JSON can hold them.

        Raises
        ------
        TrainingCodeError
            If an optimizer or schedule of the user keeps something that JSON cannot hold.
        """
        arrays: dict[str, mx.nd.NDArray] = {}
        if self._targets is None:
            for index, state in self._stock.states.items():
                arrays.update(flatten(str(index), state))
        elif self._optimizer.num_update:  # before, there is none
            arrays.update(self._kept)
        counts = self._counts
        meta = {
            "optimizer": making.stock_name(self._optimizer),
            "num_update": self._optimizer.num_update,
            "counts": {str(index): count for index, count in counts.items()},
            "progress": self._progress.changed(),
            "schedule": {} if self._replays else self._schedule_progress.changed(),
        }
        return arrays, meta

    def restore(self, arrays: Mapping[str, mx.nd.NDArray], meta: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave; the parameters have been restored before.

        Raises
        ------
        InputError
            If the state is that of another optimizer or of parameters with other shapes.
        """
        if meta["optimizer"] != making.stock_name(self._optimizer):
            raise InputError(
                f"the checkpoint was made by the optimizer {meta['optimizer']} and the job now asks for "
                f"{making.stock_name(self._optimizer)}: change it back, or start in another job.dir"
            )
        if meta["num_update"]:  # before the first update there is no state, and stock makes it then
            self._restore_arrays(arrays)
        self._optimizer.num_update = meta["num_update"]
        self._counts.update({int(k): count for k, count in meta["counts"].items()})
        self._progress.restore(meta["progress"])
        self._schedule_progress.restore(meta["schedule"])
        # MXNet's schedules keep where they are in what they were asked last. Stored numbers would pin the old options;
        # asked again for every update so far, a schedule with new ones is where it would be had it always been so.
        if self._replays:
            for done in range(1, meta["num_update"] + 1):
                self._optimizer.lr_scheduler(done)

    @property
    def _counts(self) -> dict[int, int]:
        counts: dict[int, int] = self._optimizer._all_index_update_counts[0]
        return counts

    @property
    def _replays(self) -> bool:
        return type(self._schedule) in _REPLAYED

    def _trained(self) -> list[tuple[int, gluon.Parameter]]:
        return [(index, param) for index, param in enumerate(self._params) if param.grad_req != "null"]

    def _restore_arrays(self, arrays: Mapping[str, mx.nd.NDArray]) -> None:
        # Made anew by this optimizer and then filled, so that an option changed between runs (momentum on or off) has
        # the state it needs; names tell which of the stored arrays is which.
        fresh: dict[str, mx.nd.NDArray] = {}
        for index, param in self._trained():
            weight = param.list_data()[0]
            self._stock.states[index] = self._optimizer.create_state_multi_precision(index, weight)
            self._stock.states_synced[index] = True
            fresh.update(flatten(str(index), self._stock.states[index]))
        if set(fresh) != set(arrays):
            LOG.warning(
                "optimizer state: %d arrays start anew and %d stored ones are left out, because the options changed",
                len(set(fresh) - set(arrays)),
                len(set(arrays) - set(fresh)),
            )
        for name in sorted(set(fresh) & set(arrays)):
            there, here = arrays[name], fresh[name]
            if (there.shape, there.dtype) != (here.shape, here.dtype):
                raise InputError(
                    f"optimizer state of parameter {self._params[int(name.split('.')[0])].name}: the checkpoint holds "
                    f"{there.shape} {np.dtype(there.dtype)}, this network needs {here.shape} {np.dtype(here.dtype)}: "
                    "use the network the job was started with, or another job.dir"
                )
            there.copyto(here)


def _may_write(optimizer: mx.optimizer.Optimizer) -> bool:
    """Tell whether an optimizer may change the gradients it is given; of MXNet's own only AdaDelta does."""
    is_theirs = type(optimizer).__module__.startswith(("mxnet.", "mxspark."))
    return isinstance(optimizer, mx.optimizer.AdaDelta) or not is_theirs


def _attach_schedule(optimizer: mx.optimizer.Optimizer, schedule: Optional[Component]) -> Any:
    """Give the optimizer its schedule and return that; afterwards, as constructors overwrite a schedule's base rate."""
    if schedule is not None:
        own = optimizer.lr_scheduler
        if own is not None:
            raise InputError(
                f"training.schedule is {schedule.name}, and training.optimizer brings a {type(own).__name__} of its "
                "own: remove one of them"
            )
        made = components.build_schedule(schedule, optimizer.lr)
        if schedule.function is not None and made is not None:
            optimizer.lr_scheduler = rates.Checked(made, schedule.function.label)
        else:
            optimizer.lr_scheduler = made
        return made
    return optimizer.lr_scheduler
