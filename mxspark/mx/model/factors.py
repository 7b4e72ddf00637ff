"""What a network says of its parameters beside its graph: how fast each learns, and what it begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import mxnet as mx
from mxnet import gluon

from mxspark.job.digest import digest_of

_LONGEST = 100


def factors(parameters: Mapping[str, gluon.Parameter]) -> dict[str, str]:
    """Return what is no default, by parameter: `lr_mult`, `wd_mult`, `grad_req` and `init`.

    Parameters
    ----------
    parameters : mapping of str to gluon.Parameter
        By structural name, which is the same in every process.
    """
    return {f"the network's {name}.{key}": said for name, one in parameters.items() for key, said in _of(one)}


def _of(parameter: gluon.Parameter) -> Iterator[tuple[str, str]]:
    for key in ("lr_mult", "wd_mult"):
        factor = float(getattr(parameter, key))
        if factor != 1:
            yield key, f"{factor:g}"
    if parameter.grad_req != "write":
        yield "grad_req", parameter.grad_req
    # that of a constant is a name with its place in memory
    if parameter.init is not None and not isinstance(parameter, gluon.Constant):
        yield "init", _initializer(parameter.init)


def _initializer(init: object) -> str:
    """Return an initializer in words, with a digest in place of values that are many or cannot be written."""
    if not isinstance(init, mx.init.Initializer):
        return str(init)
    try:
        said = str(init.dumps())
    except Exception:  # of the user's own, with options that are no JSON
        return f"{type(init).__name__} ({digest_of(init)})"
    if len(said) <= _LONGEST:
        return said
    return f"{type(init).__name__} ({hashlib.sha256(said.encode()).hexdigest()[:8]})"
