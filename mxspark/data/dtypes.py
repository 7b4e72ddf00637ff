"""The element types that the arrays of a job can have: the one list of them."""

from __future__ import annotations

from typing import Optional

from mxspark.errors.spelling import closest

#: What can be spooled, what MXNet 1.9 has arrays of on the CPU, and what a graph can be traced with. A bool
#: would take 0.5 for true without a word; of uint16, uint32, uint64 and bfloat16 MXNet has no arrays there.
DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64")

#: Those that take a quarter of the room of a float32: a feature of them that is scaled, is so when it is read.
BYTES = ("uint8", "int8")


def refusal(dtype: str) -> Optional[str]:
    """Return why an element type cannot be trained on, None if it can.

    >>> refusal("float46")
    "dtype 'float46' cannot be trained on; did you mean float64?"
    """
    if dtype in DTYPES:
        return None
    meant = closest(dtype, DTYPES)
    remedy = f"did you mean {meant[0]}?" if meant else f"use one of {', '.join(DTYPES)}"
    return f"dtype {dtype!r} cannot be trained on; {remedy}"
