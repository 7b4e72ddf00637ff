"""Slots that were lost with their executor: which executor, and how it ended, as Spark says it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Optional

from mxspark.errors import MXSparkError

_LOST = re.compile(r"ExecutorLostFailure \(executor (\S+) [^)]*\) Reason: (.+)")


def lost_executor(said: str) -> Optional[str]:
    """Return which executor Spark has lost and why, None if it says of none.

    >>> lost_executor("ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: Command "
    ...               "exited with code 137")
    'Spark lost executor 1 (Command exited with code 137)'
    """
    found = _LOST.search(said)
    return f"Spark lost executor {found[1]} ({found[2].strip().rstrip('.')})" if found else None


def explained(error: MXSparkError, said: Optional[str]) -> MXSparkError:
    """Return an error about an agent or task with what Spark says of its executor: there the end began."""
    executor = lost_executor(said or "")
    if executor is None or error.cause is None:
        return error
    cause = replace(error.cause, message=f"{executor}: {error.cause.message}")
    return type(error)(error.message.replace(error.cause.message, cause.message, 1), cause)
