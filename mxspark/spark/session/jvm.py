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
from mxspark.errors.cause import Cause, describe_exit
from mxspark.protocol import launcher as launcher_line
from mxspark.spark.session import compat
from mxspark.system import procfs
from mxspark.system.procfs import Stillness

LOOK_S = 1.0
_END_S = 1.0
"""A killed JVM closes its connections first, and is gone a moment later."""
_CODE_S = 3.0
"""Whoever started it knows how it has ended only when the last of its threads has."""
_OUT_OF_HEAP = 52
"""``SparkExitCode.OOM``: a task or the driver's own code met an OutOfMemoryError."""


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
        self._process = compat.jvm_process(spark)
        self._work = ""
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
    def at_work(self, words: str) -> Iterator[None]:
        """Say what fills its heap inside the ``with``."""
        self._work = words
        yield
        self._work = ""  # not after a failure: it is told further out what this was about

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
            told = f"{cause.describe()}; {cause.traits.remedy}" if cause.kind == "heap" else cause.describe()
            self._error = ClusterError(told + echo, cause)
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
                return self._gone()
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)

    def _gone(self) -> Cause:
        """Return the cause when it has ended."""
        if self._stopped:
            return Cause.here("stopped", "jvm", self._stopped, pid=self.pid, signal="SIGSTOP")
        code = self._exit_code()
        if code == _OUT_OF_HEAP:
            during = f" while {self._work}" if self._work else ""
            words = f"its heap was full (java.lang.OutOfMemoryError){during}"
            return Cause.here("heap", "jvm", words, pid=self.pid, exit_code=code)
        words, name = "another process has ended it, or the kernel when memory ran out", None
        if code is not None:
            _, name, words = describe_exit(code)
        return Cause.here(
            "killed", "jvm", f"it is gone: {words}", pid=self.pid, exit_code=code if name is None else None, signal=name
        )

    def _exit_code(self) -> Optional[int]:
        """Return what it has ended with, minus a signal; None where nobody tells."""
        deadline = time.monotonic() + _CODE_S
        while True:
            code = launcher_line.jvm_code() if self._process is None else self._process.poll()
            may_come = self._process is not None or launcher_line.is_there()
            if code is not None or not may_come or time.monotonic() > deadline:
                return code
            time.sleep(0.05)
