"""``mxspark train``: train the job of a YAML file, and turn whatever happens into an outcome and an exit code."""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

from rich.console import Console

from mxspark.cli import places
from mxspark.config.job_config import JobConfig
from mxspark.config.overrides import Override
from mxspark.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, InputError, InternalError, MXSparkError
from mxspark.protocol import launcher
from mxspark.report import progress, result_file
from mxspark.report.summary import print_summary
from mxspark.result import FAILED, INTERRUPTED, TERMINATED, Result, of_error
from mxspark.spark.run.shutdown import Shutdown, Terminated

_SWITCHES = {"take_over": "--take-over", "fresh": "--fresh"}


def add_to(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb to the command line and return its parser."""
    parser: argparse.ArgumentParser = verbs.add_parser("train", help="train the job of a YAML file")
    parser.add_argument("--job-id", metavar="ID", help="who the job is (job.id); default: Airflow's, else dir and user")
    parser.add_argument("--take-over", action="store_true", help="end a run of another job that owns job.dir")
    parser.add_argument("--fresh", action="store_true", help="start over: set aside what job.dir holds, delete nothing")
    parser.add_argument("--result", metavar="FILE", help="write the outcome as one JSON object")
    return parser


def run(
    given: argparse.Namespace, outcome_path: Optional[str], *, owns_process: bool, tell: Callable[[int], int]
) -> int:
    """Train, leave the outcome wherever somebody waits for it, and return the exit code.

    Parameters
    ----------
    given : argparse.Namespace
        The arguments of the verb.
    outcome_path : str or None
        Where the launcher, on another machine, looks for the outcome.
    owns_process : bool
        Whether this process has nothing left to do afterwards but say how it ended.
    tell : callable
        Tells the launcher the exit code.
    """
    try:
        result_file.check(given.result)
    except InputError as error:
        print(f"mxspark: {error.message}", file=sys.stderr)
        return tell(error.exit_code)
    result, code = _train(given.config, [*given.set, *_flags(given)], given.master)
    if owns_process:
        # the run is over: a signal that comes now must not keep its outcome from being written
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    # in the order of who needs it most: a launcher that has the code says nothing of its own if we die while we print
    result_file.write(given.result, result.to_dict())
    tell(code)
    print_summary(result, Console(file=sys.stderr if code else sys.stdout))
    if outcome_path:
        _leave_outcome(outcome_path, result, code)
    return code


def _flags(given: argparse.Namespace) -> list[Override]:
    """Return the keys of the job that have an option of their own."""
    found = [Override(f"job.{key}=true", option) for key, option in _SWITCHES.items() if getattr(given, key)]
    if given.job_id is not None:
        found.append(Override(f"job.id={json.dumps(given.job_id)}", f"--job-id {given.job_id}"))
    return found


def _train(config: str, overrides: Sequence[Union[str, Override]], master: Optional[str]) -> tuple[Result, int]:
    """Train, and turn whatever happens into an outcome and an exit code."""
    from mxspark.spark.run.timing import run_id

    run = run_id()
    try:
        job = JobConfig.from_yaml(config, overrides, places.look(master))
        # before the imports: they and the session take a minute on a busy machine
        progress.say_before(job.report.progress, "starting Spark")
        from mxspark.spark.run import job as spark_job
        from mxspark.spark.session import session

        _quiet_py4j()
        launcher.write(launcher.GRACE, math.ceil(job.failure.grace_s))
        launcher.write(launcher.LEASE, job.failure.lease_s)
        shutdown = Shutdown()
        signal.signal(signal.SIGTERM, lambda _number, _frame: shutdown.request("SIGTERM"))
        spark = session.start(f"mxspark {job.job.name}", master)
        # pyspark's own handler calls the JVM in the middle of a call; a run cancels what it has begun by itself
        signal.signal(signal.SIGINT, signal.default_int_handler)
        session.announce(spark)
        return spark_job.train_job(job, spark, run, shutdown), 0
    except KeyboardInterrupt as stop:
        is_terminated = isinstance(stop, Terminated)
        status = TERMINATED if is_terminated else INTERRUPTED
        nothing_yet = Result(status, run, f"{str(stop) or 'Ctrl-C'}; the same command resumes")
        return _kept(stop) or nothing_yet, EXIT_TERMINATED if is_terminated else EXIT_INTERRUPTED
    except MXSparkError as error:
        if isinstance(error.result, Result):
            return error.result, error.exit_code
        return of_error(error, run), error.exit_code  # it ended before it owned the job dir
    except Exception:
        text = traceback.format_exc()
        return Result(FAILED, run, f"a mistake of mxspark's own, please report it:\n{text}"), InternalError.exit_code


def _kept(stop: KeyboardInterrupt) -> Optional[Result]:
    """Return what a run that was interrupted has reached: another Ctrl-C, while it ends, is not the one that has it."""
    error: Optional[BaseException] = stop
    while error is not None:
        result = getattr(error, "result", None)
        if isinstance(result, Result):
            return result
        error = error.__context__
    return None


def _quiet_py4j() -> None:
    """Let py4j not tell of calls that an interrupt, or the end of the JVM, has cut short; that is told in words."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: os.sep + "py4j" + os.sep not in record.pathname)
    logging.getLogger().addHandler(handler)


def _leave_outcome(path: str, result: Result, code: int) -> None:
    """Tell the launcher, on another machine, how this ended."""
    from mxspark.spark.hadoop import outcome

    text = io.StringIO()
    print_summary(result, Console(file=text, width=100))
    outcome.write(path, {"code": code, "result": result.to_dict(), "summary": text.getvalue()})
