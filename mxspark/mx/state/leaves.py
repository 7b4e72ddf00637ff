"""The arrays of an optimizer's state, which it keeps in tuples of tuples, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mxnet as mx

from mxspark.errors import TrainingCodeError


def flatten(name: str, state: Any) -> dict[str, mx.nd.NDArray]:
    """Return the arrays of a state as ``<name>[.<place>]*``, in order.

    Raises
    ------
    TrainingCodeError
        If there is something else in it.
    """
    if state is None:
        return {}
    if isinstance(state, mx.nd.NDArray):
        return {name: state}
    if isinstance(state, (tuple, list)):
        return {key: array for i, part in enumerate(state) for key, array in flatten(f"{name}.{i}", part).items()}
    raise TrainingCodeError(
        f"the optimizer keeps a {type(state).__name__} in a parameter's state, which a checkpoint cannot hold: return "
        "NDArrays, tuples of them, or None from create_state, or turn checkpoints off"
    )


def rebuild(name: str, state: Any, arrays: Mapping[str, mx.nd.NDArray]) -> Any:
    """Return a state with other arrays in the places that `flatten` names."""
    if isinstance(state, (tuple, list)):
        return type(state)(rebuild(f"{name}.{i}", part, arrays) for i, part in enumerate(state))
    return None if state is None else arrays[name]
