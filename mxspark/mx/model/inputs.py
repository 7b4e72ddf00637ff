"""Whether a network takes the features of its job: as many arrays, of the types it computes with, in the same words."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.util import is_np_array, is_np_shape

from mxspark.data.signature import input_names
from mxspark.data.spool import ColumnSpec
from mxspark.errors import InputError, TrainingCodeError

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Arrays:
    """The arrays a network takes: those it needs and those it may be given by name, and how many it takes at most."""

    needed: tuple[str, ...]
    most: float
    optional: tuple[str, ...] = ()

    @classmethod
    def of(cls, block: gluon.HybridBlock) -> Optional[Arrays]:
        """Read them off a network; None where they cannot be told."""
        if isinstance(block, gluon.SymbolBlock):
            names = tuple(symbol.name for symbol in block._cached_graph[0])
            return cls(names, len(names))
        is_hybrid = type(block).forward is gluon.HybridBlock.forward
        found = inspect.signature(block.hybrid_forward if is_hybrid else block.forward).parameters.values()
        # F, the module of operators, comes first; parameters of the block's own are given by their names
        taken = [one for one in found if one.kind in _BY_PLACE and one.name not in block._reg_params][is_hybrid:]
        needed = tuple(one.name for one in taken if one.default is one.empty)
        if type(block).__module__.startswith("mxnet."):
            return cls(needed, len(needed))  # a bias that is None is no array
        has_more = any(one.kind == one.VAR_POSITIONAL for one in found)
        optional = tuple(one.name for one in taken if one.default is not one.empty)
        return cls(needed, math.inf if has_more else len(taken), optional)


def refuse_count(label: str, block: gluon.HybridBlock, features: Sequence[ColumnSpec]) -> None:
    """Refuse more or fewer features than a network takes that cannot be traced.

    Raises
    ------
    InputError
        Naming the features, and how several numbers become one array.
    """
    arrays = Arrays.of(block)
    if arrays is None or not features or len(arrays.needed) <= len(features) <= arrays.most:
        return
    names = ", ".join(feature.name for feature in features)
    takes = f"{len(arrays.needed)} array{'s' * (len(arrays.needed) != 1)} ({', '.join(arrays.needed)})"
    seen = f"the network {label} takes {takes}, and data.features has {len(features)} ({names})"
    if len(arrays.needed) == 1 and all(math.prod(feature.shape or ()) == 1 for feature in features):
        columns = ", ".join(column for feature in features for column in feature.columns)
        raise InputError(f"{seen}: write data.features: {{x: {{columns: [{columns}]}}}} for one array of them")
    raise InputError(f"{seen}: name as many, or let it take these, hybrid_forward(self, F, {names}), in this order")


def refuse_order(label: str, block: gluon.HybridBlock, features: Sequence[ColumnSpec]) -> None:
    """Refuse a network one of whose parameters is called as a feature, and would be given another: they go by place.

    Raises
    ------
    InputError
        Naming both, with the order to write.
    """
    arrays = Arrays.of(block)
    if arrays is None:
        return
    names = [feature.name for feature in features]
    takes = (*arrays.needed, *arrays.optional)
    for place, taken in enumerate(takes):
        if taken in names and names.index(taken) != place:
            given = names[place] if place < len(names) else "nothing"
            raise InputError(
                f"the network {label} takes ({', '.join(takes)}), and data.features has ({', '.join(names)}), so that "
                f"{taken} would be given {given}: features go by place; bring both into one order, or "
                "give the parameters names of their own"
            )


def refuse_types(
    label: str, graph: mx.sym.Symbol, parameters: Sequence[gluon.Parameter], features: Sequence[ColumnSpec]
) -> None:
    """Refuse features of a type with which a network cannot compute.

    Raises
    ------
    InputError
        Naming the features that have another type than the parameters.
    """
    known: dict[str, Any] = dict(zip(input_names(len(features)), (np.dtype(feature.dtype) for feature in features)))
    known.update((parameter.name, np.dtype(parameter.dtype)) for parameter in parameters)
    try:
        graph.infer_type(**{name: kind for name, kind in known.items() if name in graph.list_inputs()})
    except mx.MXNetError as error:
        types = sorted({np.dtype(parameter.dtype).name for parameter in parameters})
        others = [feature for feature in features if feature.dtype not in types]
        if not others or len(types) != 1:
            raise
        named = ", ".join(f"data.features.{feature.name} is {feature.dtype}" for feature in others)
        raise InputError(
            f"the network {label} cannot compute with the types it is given: {named}, and its parameters are "
            f"{types[0]}: set the dtype to {types[0]}, or cast in the network, F.cast(x, {types[0]!r})"
        ) from error


def refuse_numpy(label: str, error: Optional[BaseException] = None) -> None:
    """Refuse MXNet's numpy interface, in which arrays and symbols are of other classes.

    Parameters
    ----------
    error : BaseException, optional
        What tracing has raised: without the switch, a call of that interface fails there.

    Raises
    ------
    TrainingCodeError
        With what to write instead.
    """
    if is_np_array() or is_np_shape() or _is_of_numpy(error):
        raise TrainingCodeError(
            f"{label} uses MXNet's numpy interface (npx.set_np(), F.np, F.npx), in which mxspark does not train: "
            "remove the call of npx.set_np(), and write F.exp for F.np.exp, F.softmax for F.npx.softmax, mx.nd for "
            "mx.np"
        )


def _is_of_numpy(error: Optional[BaseException]) -> bool:
    if error is None:
        return False
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    of_numpy = Path(mx.__file__).parent / "symbol" / "numpy"
    return "as_np_ndarray" in str(error) or any(of_numpy in file.parents for file in files)


def refuse_same_names(label: str, block: gluon.HybridBlock) -> None:
    """Refuse two parameters of one name: a graph takes them for one.

    Raises
    ------
    TrainingCodeError
        Naming both layers.
    """
    first: dict[str, tuple[str, gluon.Parameter]] = {}
    for path, parameter in block._collect_params_with_prefix().items():
        other, known = first.setdefault(parameter.name, (path, parameter))
        if known is not parameter:
            raise TrainingCodeError(
                f"two parameters of the network {label} are called {parameter.name}, {other} and {path}, which a graph "
                f"takes for one: give the layer of one a name of its own, prefix='head_' where it is made"
            )
