"""Updates on the worker: MXNet's own optimizers, with kernels and state made for speed and exact resume.

Most are the stock classes. Stock ``SGD`` always runs the aggregated kernel, several times slower on a CPU than the
plain one, and stock ``Adamax`` divides zero by zero where a gradient has always been zero; these are replaced here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.errors import InputError, InternalError, TrainingCodeError
from mxspark.job.spec import Component
from mxspark.mx.model import components
from mxspark.mx.state import rates
from mxspark.mx.state.attributes import Progress

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


class PlainSGD(mx.optimizer.SGD):  # type: ignore[misc]
    """SGD with one plain kernel a parameter."""

    def __init__(self, **options: Any) -> None:
        super().__init__(lazy_update=False, **options)
        self.aggregate_num = 0  # MXNet's updater then hands over one parameter at a time

    def _update_impl(
        self, indices: int, weights: mx.nd.NDArray, grads: mx.nd.NDArray, states: Any, multi_precision: bool = False
    ) -> None:
        self._update_count(indices)  # before the rate is asked for: a schedule counts this update in
        options = {"lr": self._get_lr(indices), "wd": self._get_wd(indices), "rescale_grad": self.rescale_grad}
        if self.clip_gradient:  # None is unknown to the kernels, and 0 is off, as in stock SGD
            options["clip_gradient"] = self.clip_gradient
        momentum, master = states if multi_precision else (states, None)
        arrays = [array for array in (momentum, master) if array is not None]
        if momentum is not None:
            options["momentum"] = self.momentum
            kernel = mx.nd.mp_sgd_mom_update if multi_precision else mx.nd.sgd_mom_update
        else:
            kernel = mx.nd.mp_sgd_update if multi_precision else mx.nd.sgd_update
        kernel(weights, grads, *arrays, out=weights, **options)


class Adamax(mx.optimizer.Adamax):  # type: ignore[misc]
    """Adamax that leaves a weight alone whose gradient has always been zero; stock makes it NaN."""

    def update(self, index: int, weight: mx.nd.NDArray, grad: mx.nd.NDArray, state: Any) -> None:
        """Apply one update, in place."""
        self._update_count(index)
        lr = self._get_lr(index) / (1.0 - self.beta1 ** self._index_update_count[index])
        grad = grad * self.rescale_grad + self._get_wd(index) * weight
        if self.clip_gradient is not None:
            grad = mx.nd.clip(grad, -self.clip_gradient, self.clip_gradient)
        # In place all the way: `Updater.state` hands out these very arrays.
        mean, norm = state
        mean[:] *= self.beta1
        mean[:] += (1.0 - self.beta1) * grad
        norm[:] = mx.nd.maximum(self.beta2 * norm, mx.nd.abs(grad))
        # Where the gradient has always been zero so is the mean: any divisor will do that is not zero itself.
        weight[:] -= lr * mean / mx.nd.maximum(norm, float(np.finfo(norm.dtype).tiny))


_OURS: Mapping[str, Callable[..., mx.optimizer.Optimizer]] = {"SGD": PlainSGD, "Adamax": Adamax}


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
        self._optimizer = build_optimizer(component)
        self._optimizer.param_dict = dict(enumerate(self._params))
        self._schedule = _attach_schedule(self._optimizer, schedule)
        self._scale = self._optimizer.rescale_grad  # the user's, by which the division by rows is multiplied
        self._stock = mx.optimizer.get_updater(self._optimizer)
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
        trained = self._trained()
        given = [param.list_grad()[0] for _, param in trained] if gradients is None else list(gradients)
        if _may_write(self._optimizer):
            given = [gradient.copy() for gradient in given]  # the sums lie where the other workers read them too
        self._stock([index for index, _ in trained], given, [param.list_data()[0] for _, param in trained])
        if self._optimizer.lr_scheduler is not None:
            self._optimizer.lr_scheduler(self._optimizer.num_update)  # AdaDelta never asks, and the end would be missed

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
        for index, state in self._stock.states.items():
            arrays.update(_flatten(str(index), state))
        counts = self._optimizer._all_index_update_counts[0]
        meta = {
            "optimizer": _stock_name(self._optimizer),
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
        if meta["optimizer"] != _stock_name(self._optimizer):
            raise InputError(
                f"the checkpoint was made by the optimizer {meta['optimizer']} and the job now asks for "
                f"{_stock_name(self._optimizer)}: change it back, or start in another job.dir"
            )
        if meta["num_update"]:  # before the first update there is no state, and stock makes it then
            self._restore_arrays(arrays)
        self._optimizer.num_update = meta["num_update"]
        self._optimizer._all_index_update_counts[0].update({int(k): count for k, count in meta["counts"].items()})
        self._progress.restore(meta["progress"])
        self._schedule_progress.restore(meta["schedule"])
        # MXNet's schedules keep where they are in what they were asked last. Stored numbers would pin the old options;
        # asked again for every update so far, a schedule with new ones is where it would be had it always been so.
        if self._replays:
            for done in range(1, meta["num_update"] + 1):
                self._optimizer.lr_scheduler(done)

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
            fresh.update(_flatten(str(index), self._stock.states[index]))
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


def build_optimizer(component: Component) -> mx.optimizer.Optimizer:
    """Return the optimizer of a component, without its schedule and parameters."""
    if component.function is None:
        target = components.known("optimizer", component).target
        return _OURS.get(target, getattr(mx.optimizer, target))(**component.options)
    made = components.load("optimizer", component.function)(**component.options)
    if not isinstance(made, mx.optimizer.Optimizer):
        raise TrainingCodeError(
            f"training.optimizer {component.function.label} returned {components.describe(made)}: return an "
            "mxnet.optimizer.Optimizer"
        )
    _refuse_factors(component.function.label, made)
    return made


def _refuse_factors(label: str, optimizer: mx.optimizer.Optimizer) -> None:
    """Refuse factors that an optimizer has by the names of parameters: those of Gluon's parameters go before them."""
    for factor in ("lr_mult", "wd_mult"):
        given = getattr(optimizer, factor)
        if given:
            raise TrainingCodeError(
                f"training.optimizer {label} has the factors {factor} {given}, of set_{factor} or param_idx2name, "
                "which have no effect beside those of the parameters: set these in the network's function, "
                f"net[0].weight.{factor} = 0.1, or grad_req = 'null' where a parameter is not to be trained"
            )


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


def _stock_name(optimizer: mx.optimizer.Optimizer) -> str:
    ours = {kind: name for name, kind in _OURS.items()}
    return ours.get(type(optimizer), type(optimizer).__name__)


def _flatten(name: str, state: Any) -> dict[str, mx.nd.NDArray]:
    if state is None:
        return {}
    if isinstance(state, mx.nd.NDArray):
        return {name: state}
    if isinstance(state, (tuple, list)):
        return {key: array for i, part in enumerate(state) for key, array in _flatten(f"{name}.{i}", part).items()}
    raise TrainingCodeError(
        f"the optimizer keeps a {type(state).__name__} in a parameter's state, which a checkpoint cannot hold: return "
        "NDArrays, tuples of them, or None from create_state, or turn checkpoints off"
    )
