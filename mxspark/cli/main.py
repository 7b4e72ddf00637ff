"""The command line: configuration in, exit code out.

======  ==============================================================
code    meaning
======  ==============================================================
0       the job succeeded, or there was nothing left to train
2       the user's input: configuration, data, job dir
3       the user's training code raised
4       the cluster: a process, a slot, a host, the network
70      a mistake of mxspark's own
130     interrupted
143     terminated by SIGTERM, after a last checkpoint where that was possible
======  ==============================================================
"""

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
from pathlib import Path
from typing import Optional

from rich.console import Console

from mxspark.check import findings
from mxspark.config.job_config import JobConfig
from mxspark.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    ClusterError,
    ConfigError,
    InputError,
    InternalError,
    MXSparkError,
)
from mxspark.jobdir import run_folder
from mxspark.protocol import launcher
from mxspark.report import result_file
from mxspark.report.summary import print_summary
from mxspark.result import FAILED, INTERRUPTED, TERMINATED, Result
from mxspark.spark.run.shutdown import Notice, Terminated
from mxspark.system.stdio import make_ours_last
from mxspark.version import __version__


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``mxspark``."""
    top = argparse.ArgumentParser(prog="mxspark", description="Train MXNet models on a Spark cluster.")
    top.add_argument("--version", action="version", version=f"mxspark {__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the job of a YAML file")
    check = commands.add_parser("check", help="find out what would keep a job from running, before it is started")
    for command in (train, check):
        command.add_argument(
            "--config", required=True, metavar="FILE", help="the job; conf/job.yaml documents every key"
        )
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of it")
        command.add_argument("--master", metavar="URL", help="of Spark; default: what spark-submit was told")
    check.add_argument("--json", action="store_true", help="write one JSON object instead of a table")
    train.add_argument("--job-id", metavar="ID", help="who the job is (job.id); default: Airflow's, else dir and user")
    train.add_argument("--take-over", action="store_true", help="end a run of another job that owns job.dir")
    train.add_argument("--result", metavar="FILE", help="write the outcome as one JSON object")
    janitor = commands.add_parser("janitor", help="list what dead runs left on this host")
    janitor.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="local folders of Spark, beside the temporary one"
    )
    janitor.add_argument("--remove", action="store_true", help="remove it")
    janitor.add_argument("--older-than", type=float, default=1.0, metavar="HOURS", help="leave younger folders alone")
    return top


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command and return the exit code."""
    launcher.take_terminal()
    make_ours_last()
    launcher.tell(launcher.DRIVER, os.getpid())  # signals are for us from now on
    try:
        given = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    except SystemExit as stop:
        return _end(int(stop.code or 0))
    if given.command == "janitor":
        return _end(_janitor(given.folders, given.remove, given.older_than * 3600))
    _find_modules_beside(given.config)
    outcome_path = os.environ.get("MXSPARK_OUTCOME")
    before = _earlier_end(outcome_path) if outcome_path else None
    if before is not None:
        return before
    if given.command == "check":
        return _end(_check(given, outcome_path))
    try:
        result_file.check(given.result)
    except InputError as error:
        print(f"mxspark: {error.message}", file=sys.stderr)
        return _end(error.exit_code)
    identity = [f"job.id={json.dumps(given.job_id)}"] if given.job_id else []
    take_over = ["job.take_over=true"] if given.take_over else []
    result, code = _train(given.config, [*given.set, *identity, *take_over], given.master)
    if arguments is None:  # this process has nothing left to do but say how it ended
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    result_file.write(given.result, result.to_dict())
    _end(code)
    print_summary(result, Console(file=sys.stderr if code else sys.stdout))
    if outcome_path:
        _leave_outcome(outcome_path, result, code)
    return code


def _earlier_end(path: str) -> Optional[int]:
    """Return the exit code of an earlier attempt of this application that YARN need not have repeated."""
    from mxspark.spark.hadoop import outcome

    left = outcome.read(path)
    may_heal = (ClusterError.exit_code, EXIT_TERMINATED)
    return int(left["code"]) if left is not None and left["code"] not in may_heal else None


def _leave_outcome(path: str, result: Result, code: int) -> None:
    """Tell the launcher, on another machine, how this ended."""
    from mxspark.spark.hadoop import outcome

    text = io.StringIO()
    print_summary(result, Console(file=text, width=100))
    outcome.write(path, {"code": code, "result": result.to_dict(), "summary": text.getvalue()})


def _janitor(folders: Sequence[str], remove: bool, old_s: float) -> int:
    """List what dead runs left, and remove it if asked to."""
    from mxspark.cli import janitor

    local = [folder for folder in os.environ.get("SPARK_LOCAL_DIRS", "").split(",") if folder]
    found = janitor.find([*local, *folders], old_s)
    for left in found:
        print(f"{left.kind:8} {left.name}  {left.detail}")
    problems = janitor.remove(found) if remove else []
    for problem in problems:
        print(f"mxspark: {problem}", file=sys.stderr)
    age = f" (folders that were changed in the last {old_s / 3600:g} h do not count, see --older-than)"
    print(f"{len(found)} left by dead runs{age}" + (f", {len(problems)} could not be removed" if problems else ""))
    return ClusterError.exit_code if problems else 0


def _check(given: argparse.Namespace, outcome_path: Optional[str]) -> int:
    """Say what would keep a job from running, and return the exit code."""
    from mxspark.report import check as report

    try:
        job = JobConfig.from_yaml(given.config, given.set)
        from mxspark.report import progress
        from mxspark.spark.check import driver
        from mxspark.spark.session import session

        spark = session.start(f"mxspark check of {job.job.name}", given.master)
        if not given.json:  # spark-submit makes one stream of this process's two
            session.announce(spark)
        display = progress.make("off" if given.json else "lines", job.report.every_s)
        found = driver.check(job, spark, display.phase)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ConfigError as error:
        found = [findings.Finding("configuration", findings.PROBLEM, error.message, by=findings.INPUT)]
    except Exception:
        words = f"a mistake of mxspark's own, please report it:\n{traceback.format_exc()}"
        found = [findings.Finding("check", findings.PROBLEM, words)]
    text = report.as_json(found) if given.json else report.as_table(found)
    print(text, end="", flush=True)
    code = findings.exit_code(found)
    if outcome_path:
        from mxspark.spark.hadoop import outcome

        outcome.write(outcome_path, {"code": code, "result": json.loads(report.as_json(found)), "summary": text})
    return code


def _find_modules_beside(config: str) -> None:
    """Let dotted paths of a job name modules of the working directory and of the job file's folder."""
    for folder in (os.getcwd(), str(Path(config).absolute().parent)):
        if folder not in sys.path:
            sys.path.append(folder)


def _train(config: str, overrides: Sequence[str], master: Optional[str]) -> tuple[Result, int]:
    """Train, and turn whatever happens into an outcome and an exit code."""
    from mxspark.spark.run.timing import run_id

    run = run_id()
    try:
        job = JobConfig.from_yaml(config, overrides)
        from mxspark.spark.run import job as spark_job
        from mxspark.spark.session import session

        _quiet_py4j()
        launcher.tell(launcher.GRACE, math.ceil(job.failure.grace_s))
        launcher.tell(launcher.LEASE, job.failure.lease_s)
        notice = Notice()
        signal.signal(signal.SIGTERM, lambda _number, _frame: notice.give("SIGTERM"))
        spark = session.start(f"mxspark {job.job.name}", master)
        # pyspark's own handler calls the JVM in the middle of a call; a run cancels what it has begun by itself
        signal.signal(signal.SIGINT, signal.default_int_handler)
        session.announce(spark)
        return spark_job.train_job(job, spark, run, notice), 0
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        status = TERMINATED if terminated else INTERRUPTED
        nothing_yet = Result(status, run, f"{str(stop) or 'Ctrl-C'}; the same command resumes")
        return getattr(stop, "result", None) or nothing_yet, EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
    except MXSparkError as error:
        if isinstance(error.result, Result):
            return error.result, error.exit_code
        early = Result(FAILED, run, error.message)  # it ended before it owned the job dir
        return early.failed(run_folder.cause_of(error), error.remedy), error.exit_code
    except Exception:
        text = traceback.format_exc()
        return Result(FAILED, run, f"a mistake of mxspark's own, please report it:\n{text}"), InternalError.exit_code


def _quiet_py4j() -> None:
    """Let py4j not tell of calls that an interrupt, or the end of the JVM, has cut short; that is told in words."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: os.sep + "py4j" + os.sep not in record.pathname)
    logging.getLogger().addHandler(handler)


def _end(code: int) -> int:
    """Tell the launcher the exit code, and return it."""
    launcher.tell(launcher.EXIT, code)
    return code
