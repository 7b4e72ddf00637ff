"""The start of pyspark's JVM, which an interrupt must not leave behind.

pyspark (``java_gateway.launch_gateway``, 3.5 to 4.3) forgets a JVM whose start is interrupted and removes the folder in
which it would have said that it is there; the JVM then waits for calls for ever, without a parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mxspark.system import procfs

_MARK = "_PYSPARK_DRIVER_CONN_INFO_PATH"
"""pyspark gives it to the JVM in the environment."""
_APPEAR_S = 1.0
"""A process that was forked at the last moment shows it so much later at most."""


@contextmanager
def starting_jvm() -> Iterator[None]:
    """End the JVM that is started inside the ``with`` if a signal ends the ``with``: nobody else knows of it yet."""
    before = {found.pid for found in procfs.below(os.getpid())}
    try:
        yield
    except Exception:
        raise  # pyspark has noticed that there is none, or knows it and can use it again
    except BaseException:
        if not _is_known():
            _end(before)
        raise


def _is_known() -> bool:
    from pyspark import SparkContext

    return SparkContext._gateway is not None


def _end(before: set[int]) -> None:
    """Kill the JVM that was just started, which may still be on its way: forked, and not yet executed."""
    deadline = time.monotonic() + _APPEAR_S
    found = False
    left = True
    while (left or not found) and time.monotonic() < deadline:
        new = [child.pid for child in procfs.below(os.getpid(), but=before) if child.is_alive]
        for pid in (pid for pid in new if _MARK in procfs.environment(pid)):
            found = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        left = bool(new)  # one that is just being executed has no environment to be seen
        time.sleep(0.02)
