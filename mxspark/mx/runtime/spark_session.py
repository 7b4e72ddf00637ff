"""Modules of the user's that make a Spark session when a worker imports them: a worker has no Spark."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Optional

from mxspark.errors import TrainingCodeError

_PYSPARK = "pyspark"
_MAKING = ("getOrCreate", "_ensure_initialized", "launch_gateway")


@contextmanager
def refused(label: str) -> Iterator[None]:
    """Refuse a session that is there after the ``with`` and was not before it: one made for a network, called `label`.

    In a check's process, which is the child of a Spark task, it may well come up; in a worker's it does not.
    """
    was_there = _is_there()
    yield
    if _is_there() and not was_there:
        raise TrainingCodeError(_words(f"building the network {label}"))


def refusal(error: BaseException) -> Optional[TrainingCodeError]:
    """Return in our words that a session could not be made, None of any other exception."""
    caller = None
    for frame in traceback.extract_tb(error.__traceback__):
        if _PYSPARK not in PurePath(frame.filename).parts:
            caller = frame
        elif frame.name in _MAKING:
            where = "the code" if caller is None else f"{caller.filename}, line {caller.lineno},"
            found = TrainingCodeError(_words(where))
            found.__cause__ = error
            return found
    return None


def _is_there() -> bool:
    # who has not imported pyspark has no session, and need not import it now
    context = getattr(sys.modules.get(_PYSPARK), "SparkContext", None)
    return getattr(context, "_active_spark_context", None) is not None


def _words(where: str) -> str:
    return (
        f"{where} makes a Spark session, and a worker has no Spark: workers import the modules of the network, the "
        "loss and other functions that they call; put these into a module of their own that makes no session when it "
        'is imported, or make the session under `if __name__ == "__main__":`'
    )
