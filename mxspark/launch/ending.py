"""How a run is told where its driver cannot: words, ``--result``, exit code."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional

from mxspark.errors import EXIT_TERMINATED, ClusterError, MXSparkError
from mxspark.errors.cause import Cause
from mxspark.jobdir.run_folder import failure_json
from mxspark.report import result_file
from mxspark.result import FAILED, INTERRUPTED, TERMINATED, Result, of_error, with_cause

PATIENCE_S = 15.0


def report_outcome(outcome: Optional[dict[str, Any]], path: Optional[str], code: int, unknown: str = "") -> int:
    """Print how a driver in the cluster ended, write ``--result``, and return the exit code.

    Parameters
    ----------
    outcome : dict or None
        What the driver left; None if it could not: it was killed, or never ran.
    code : int
        What spark-submit came to: 128 + a signal after an interrupt.
    unknown : str
        Why it is not known how the application ended.
    """
    if outcome is not None:
        print(outcome["summary"], end="", flush=True)
        result_file.write(path, outcome["result"])
        return int(outcome["code"])
    if code > 128:
        return report_end(None, path, code, words=unknown)
    words = unknown or (
        "the application ended and its driver did not say how: it was killed, or could not start; YARN's words and the "
        "application's logs say more"
    )
    return report_end(Cause.here("stage", "driver", words, pid=0), path, ClusterError.exit_code)


@contextlib.contextmanager
def patience(words: str) -> Iterator[None]:
    """Say what is waited for if the ``with`` takes long."""
    timer = threading.Timer(PATIENCE_S, lambda: print(f"mxspark: {words}", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def report_refusal(error: MXSparkError, path: Optional[str]) -> int:
    """Say why no spark-submit was started, write ``--result``, and return the exit code."""
    print(f"mxspark: {error.message}", file=sys.stderr)
    result_file.write(path, of_error(error).to_dict())
    return error.exit_code


def report_end(
    cause: Optional[Cause],
    path: Optional[str],
    code: int,
    reached: Mapping[str, Any] = MappingProxyType({}),
    words: str = "",
) -> int:
    """Say why a driver ended that has not said so, None after a signal to this process, and return the exit code.

    `reached` is what it has left of how far it had come (`launcher.PROGRESS`), `words` what came of
    the signal; default: that nothing is lost.
    """
    from rich.console import Console

    from mxspark.report.summary import print_summary

    run = str(reached.get("run_id", ""))
    if cause is not None:
        result = with_cause(Result(FAILED, run, cause.describe()), cause)
    else:
        status = TERMINATED if code == EXIT_TERMINATED else INTERRUPTED
        default = "before the run had begun, or it was killed in the end; the same command starts it, or resumes"
        result = Result(status, run, f"{signal.Signals(code - 128).name}{': ' + words if words else ' ' + default}")
    result = replace(result, **{name: reached[name] for name in ("epochs", "steps", "checkpoint") if name in reached})
    result_file.write(path, result.to_dict())
    _keep(result, str(reached.get("folder", "")))
    if sys.stderr.isatty():
        print("\x1b[?25h\r\x1b[K", end="", file=sys.stderr)  # the cursor back, in the place of what is left of a bar
    print_summary(result, Console(file=sys.stderr))
    return code


def _keep(result: Result, folder: str) -> None:
    """Write ``failure.json`` into the run's folder, where that is on this machine."""
    if result.cause is not None and folder.startswith("file:"):
        with contextlib.suppress(OSError):  # the job dir may be what is gone
            Path("/" + folder[len("file:") :].lstrip("/"), "failure.json").write_bytes(failure_json(result))
