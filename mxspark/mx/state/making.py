"""The optimizer that a job names, or a function of the user's returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mxnet as mx

from mxspark.errors import TrainingCodeError
from mxspark.job.spec import Component
from mxspark.mx.model import components
from mxspark.mx.state.kernels import Adamax, PlainSGD

_OURS: Mapping[str, Callable[..., mx.optimizer.Optimizer]] = {"SGD": PlainSGD, "Adamax": Adamax}


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


def stock_name(optimizer: mx.optimizer.Optimizer) -> str:
    """Return the name of an optimizer's class, of ours that of the one it stands for: checkpoints hold it."""
    ours = {kind: name for name, kind in _OURS.items()}
    return ours.get(type(optimizer), type(optimizer).__name__)
