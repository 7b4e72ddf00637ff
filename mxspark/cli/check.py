"""``mxspark check``: what would keep a job from running, found out before it is started."""

from __future__ import annotations

import argparse
import json
import traceback
from typing import Any, Callable, Optional

from mxspark.check import findings
from mxspark.check.findings import Finding
from mxspark.cli import places
from mxspark.config.job_config import JobConfig
from mxspark.errors import EXIT_INTERRUPTED, ConfigError, InputError


def add_to(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb to the command line and return its parser."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "check", help="find out what would keep a job from running, before it is started"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of a table")
    return parser


def run(given: argparse.Namespace, outcome_path: Optional[str]) -> int:
    """Say what would keep a job from running, and return the exit code."""
    from mxspark.report import check as report

    def show(finding: Finding) -> None:
        if not given.json:
            print(report.as_row(finding), end="", flush=True)

    try:
        seen = _look(given, show)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except InputError as error:  # before there is a session, or because none can be started
        subject = "configuration" if isinstance(error, ConfigError) else "Spark"
        seen = [Finding(subject, findings.PROBLEM, error.message, by=findings.INPUT)]
        show(seen[0])
    except Exception:
        words = f"a mistake of mxspark's own, please report it:\n{traceback.format_exc()}"
        seen = [Finding("check", findings.PROBLEM, words)]
        show(seen[0])
    print(report.as_json(seen) if given.json else report.summed(seen), end="", flush=True)
    code = findings.exit_code(seen)
    if outcome_path:
        from mxspark.spark.hadoop import outcome

        text = report.as_json(seen) if given.json else report.as_table(seen)
        outcome.write(outcome_path, {"code": code, "result": json.loads(report.as_json(seen)), "summary": text})
    return code


def _look(given: argparse.Namespace, show: Callable[[Finding], None]) -> list[Finding]:
    """Look at what a job needs, and show each finding as it is made."""
    job = JobConfig.from_yaml(given.config, given.set, places.look_closely(given.master))
    from mxspark.report import progress
    from mxspark.spark.check import driver
    from mxspark.spark.session import session

    # spark-submit makes one stream of this process's two
    display = progress.make("off" if given.json else "lines", job.report.every_s)
    display.phase("starting Spark")
    spark = session.start(f"mxspark check of {job.job.name}", given.master)
    if not given.json:
        session.announce(spark)
    return driver.check(job, spark, display.phase, show)
