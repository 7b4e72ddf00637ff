"""The command line: configuration in, exit code out.

======  ==============================================================
code    meaning
======  ==============================================================
0       the job succeeded, or there was nothing left to train
2       the user's input: configuration, data, job dir
3       the user's training code raised, or training diverged
4       the cluster: a process, a slot, a host, the network
70      a mistake of mxspark's own
129     SIGHUP before the run had begun, of the launcher alone; later it is as a SIGTERM
130     interrupted
143     terminated by SIGTERM, after a last checkpoint where that was possible
======  ==============================================================
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from mxspark.cli import check, config, janitor, train
from mxspark.config.reference import shown_by
from mxspark.errors import EXIT_TERMINATED, ClusterError, InputError
from mxspark.protocol import launcher
from mxspark.system.stdio import protect_output
from mxspark.version import __version__


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``mxspark``; each verb adds its own."""
    top = argparse.ArgumentParser(prog="mxspark", description="Train MXNet models on a Spark cluster.")
    top.add_argument("--version", action="version", version=f"mxspark {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True)
    for verb in (train.add_to(verbs), check.add_to(verbs)):
        words = f"the job; {shown_by()} documents every key"
        verb.add_argument("--config", required=True, metavar="FILE", help=words)
        verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of it")
        verb.add_argument("--master", metavar="URL", help="of Spark; default: what spark-submit was told")
    config.add_to(verbs)
    janitor.add_to(verbs)
    return top


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a verb and return the exit code."""
    # before a word is said: what stands in the driver's own streams is lost with its JVM
    launcher.take_terminal()
    protect_output()
    launcher.write(launcher.DRIVER, os.getpid())  # signals are for us from now on
    words = list(sys.argv[1:] if arguments is None else arguments)
    if told := _without_option(words):
        print(f"mxspark: {told}", file=sys.stderr)
        return _tell(InputError.exit_code)
    try:
        given = parser().parse_args(words)
    except SystemExit as stop:
        return _tell(int(stop.code or 0))
    if given.verb == "config":
        return _tell(config.run())
    if given.verb == "janitor":
        return _tell(janitor.run(given))
    _find_modules_beside(given.config)
    outcome_path = os.environ.get("MXSPARK_OUTCOME")
    before = _exit_code_of_earlier_attempt(outcome_path) if outcome_path else None
    if before is not None:
        return before
    if given.verb == "check":
        return _tell(check.run(given, outcome_path))
    return train.run(given, outcome_path, owns_process=arguments is None, tell=_tell)


def _without_option(words: Sequence[str]) -> Optional[str]:
    """Return what to write where a job file is given as other programs take one; argparse only says what is missing."""
    if words[:1] not in (["train"], ["check"]) or any(word.partition("=")[0] == "--config" for word in words):
        return None
    file = next((word for word in words[1:] if word.endswith((".yaml", ".yml"))), None)
    return None if file is None else f"the job file is given by an option; write --config {file}"


def _exit_code_of_earlier_attempt(path: str) -> Optional[int]:
    """Return the exit code of an earlier attempt of this application that YARN need not have repeated."""
    from mxspark.spark.hadoop import outcome

    left = outcome.read(path)
    may_heal = (ClusterError.exit_code, EXIT_TERMINATED)
    return int(left["code"]) if left is not None and left["code"] not in may_heal else None


def _find_modules_beside(config: str) -> None:
    """Let dotted paths of a job name modules of the working directory and of the job file's folder."""
    for folder in (os.getcwd(), str(Path(config).absolute().parent)):
        if folder not in sys.path:
            sys.path.append(folder)


def _tell(code: int) -> int:
    """Tell the launcher the exit code, and return it."""
    launcher.write(launcher.EXIT, code)
    return code
