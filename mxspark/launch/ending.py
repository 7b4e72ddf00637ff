"""What a run in the cluster comes to on the machine it was started from: words, ``--result``, exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Optional

from mxspark.errors import EXIT_TERMINATED, ClusterError
from mxspark.failure import Cause
from mxspark.result import FAILED, INTERRUPTED, TERMINATED, Result


def show(outcome: Optional[dict[str, Any]], result_file: Optional[str], code: int) -> int:
    """Print how the driver ended, write ``--result``, and return the exit code.

    Parameters
    ----------
    outcome : dict or None
        What the driver left; None if it could not: it was killed, or never ran.
    code : int
        What spark-submit came to: 128 + a signal after an interrupt.
    """
    if outcome is None:
        stopped = code > 128
        code = code if stopped else ClusterError.exit_code
        words = "stopped from outside; the same command resumes" if stopped else (
            "the application ended and its driver did not say how: it was killed, or could not start; YARN's words "
            "and the application's logs say more"
        )  # fmt: skip
        status = FAILED if not stopped else TERMINATED if code == EXIT_TERMINATED else INTERRUPTED
        result = Result(status, "", words)
        if not stopped:
            result = result.failed(Cause("stage", "driver", 0, os.uname().nodename, 0, words))
        outcome = {"code": code, "result": result.to_dict(), "summary": f"{result.status}: {words}\n"}
    print(outcome["summary"], end="", flush=True)
    if result_file is not None:
        Path(result_file).write_text(json.dumps(outcome["result"], indent=2, allow_nan=False) + "\n")
    return int(outcome["code"])
