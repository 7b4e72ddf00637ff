"""The driver's JVM: watched while a run is at work, and named where it is what ended the run."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Optional

from pyspark.sql import SparkSession

from mxspark.errors import ClusterError, InputError, MXSparkError, TrainingCodeError
from mxspark.errors.cause import Cause
from mxspark.protocol import launcher as launcher_line
from mxspark.system import procfs
from mxspark.system.procfs import Stillness

LOOK_S = 1.0
_END_S = 1.0
"""A killed JVM closes its connections first, and is gone a moment later."""


class Jvm:
    """The JVM of a session. As a context manager it is watched: one that stands still holds up every call for ever.

    Parameters
    ----------
    lease_s : float
        One that is stopped by a signal for so long is killed; what waits for it then fails.

    Attributes
    ----------
    pid : int
        Its process id; it runs on the driver's host.
    """

    def __init__(self, spark: SparkSession, lease_s: float) -> None:
        jvm: Any = spark._jvm
        self.pid = int(jvm.java.lang.ProcessHandle.current().pid())
        self._lease_s = lease_s
        self._closed = threading.Event()
        self._stopped: Optional[str] = None
        self._error: Optional[ClusterError] = None  # that named it
        self._thread = threading.Thread(target=self._watch, name="mxspark-jvm", daemon=True)

    def __enter__(self) -> Jvm:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _: Optional[TracebackType]
    ) -> None:
        """Watch no more."""
        self._closed.set()

    def _watch(self) -> None:
        still = Stillness()
        while not self._closed.wait(LOOK_S):
            still_s = still.seconds(self.pid)
            if still_s > self._lease_s:
                self._stopped = (
                    f"it was stopped by a signal for {still_s:.0f} s (failure.lease_s = {self._lease_s:g} s), and then "
                    "killed"
                )
                # in this order: the main thread, which waits for it, asks why as soon as it is dead. Nothing milder
                # than this signal reaches a process that is stopped
                with contextlib.suppress(OSError):
                    os.kill(self.pid, signal.SIGKILL)
                return

    @contextmanager
    def explaining_errors(self) -> Iterator[None]:
        """Turn what is raised inside the ``with`` into an error that names the JVM, if its end is the reason.

        Raises
        ------
        ClusterError
            In the place of any error but those of the user's input and code.
        """
        try:
            yield
        except (InputError, TrainingCodeError):
            raise
        except Exception as error:
            known = error.cause if isinstance(error, MXSparkError) else None
            # explained already: a run is inside this twice, for its folder and for its caller
            cause = self._end(known) if error is not self._error else None
            if cause is None:
                raise
            echo = f"\nthen: {known.describe().splitlines()[0]}" if known else ""
            self._error = ClusterError(cause.describe() + echo, cause)
            raise self._error from error

    def _end(self, known: Optional[Cause]) -> Optional[Cause]:
        """Return the cause if the JVM has ended, or the launcher, who takes it along."""
        deadline = time.monotonic() + (_END_S if known is None or known.traits.is_echo else 0.0)
        while True:
            # the launcher before the JVM: where it was killed, Spark's shutdown hooks end the JVM a moment later
            launcher = launcher_line.ended_pid()
            if launcher is not None:
                words = f"the command line that had started it (pid {launcher}) was killed, and Spark ended with that"
                return Cause.here("interrupted", "driver", words)
            if not procfs.is_alive(self.pid):
                words = self._stopped or "it is gone: another process has ended it, or the kernel when memory ran out"
                kind, name = ("stopped", "SIGSTOP") if self._stopped else ("killed", None)
                return Cause.here(kind, "jvm", words, pid=self.pid, signal=name)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)
