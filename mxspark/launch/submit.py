"""What ``submit.sh`` runs, under whatever Python the machine has: the standard library is all there is.

Makes the private environment of the checkout (once) and hands over to the Python in it: to :mod:`mxspark.launch` for a
job, or to any command with ``--exec``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from mxspark.errors import EXIT_INTERRUPTED, MXSparkError
from mxspark.launch.environment import Environment, check_platform, check_user
from mxspark.launch.java import java_home
from mxspark.launch.spark_home import spark_home
from mxspark.system import utf8
from mxspark.system.stdio import protect_output

ROOT = Path(__file__).resolve().parents[2]
_EXEC = ("--exec", "--exec-dev")
USAGE = """\
usage: ./submit.sh [SPARK OPTIONS] SCRIPT.py [SCRIPT OPTIONS] [SPARK OPTIONS]
       ./submit.sh [--requirements FILE] --exec COMMAND...

  ./submit.sh spark_jobs/train.py --config conf/digits.yaml --set training.epochs=3
  ./submit.sh spark_jobs/train.py --config conf/digits.yaml --master yarn --driver-memory 4g
  ./submit.sh --exec mxspark check --config conf/digits.yaml
  ./submit.sh --exec pyspark

Runs SCRIPT.py with spark-submit, in a Python environment of its own that is made the first time, in .mxspark/.
Options of spark-submit (--master, --conf, --queue, ...) may stand anywhere and go to spark-submit; what stands after
the script and is not one of them goes to the script, and so does everything after '--'.

--requirements FILE   packages of yours, installed once beside the others, for a job here, on YARN, and for --exec
--python PATH         with --master yarn (docs/yarn.md): a Python that all nodes have there, instead of sending one

--exec       runs a command in that environment: mxspark config, a pyspark shell, python, jupyter, ...
--exec-dev   the same with the tools of ./run-tests

SPARK_HOME            a Spark of yours; default: the pyspark of the environment
JAVA_HOME             Java 17 or newer; default: java on the PATH, else one from PyPI
MXSPARK_PYSPARK       another pyspark release for the environment, for instance 3.5.9
MXSPARK_ENVIRONMENT   a Python environment of yours to use instead of making one
"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Make what is missing and become the next program; returns only when that fails."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if given else sys.stderr)
        return 0 if given else 2
    protect_output()
    try:
        check_platform()
        check_user()
        switch, command = _command(given)
        _become(Environment.wanted(ROOT, os.environ, dev=switch == "--exec-dev"), command)
    except MXSparkError as error:
        print(f"mxspark: {error.message}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _command(given: Sequence[str]) -> tuple[str, list[str]]:
    """Return which environment is asked for, and what to run in it."""
    before: list[str] = []
    name, equals, file = given[0].partition("=")
    rest = [name, file, *given[1:]] if equals else list(given)
    if rest[0] == "--requirements" and rest[2:3] and rest[2] in _EXEC:
        before = ["python", "-m", "mxspark.launch.packages", rest[1]]
        rest = rest[2:]
    if rest[0] in _EXEC:
        return rest[0], [*before, *_program(rest[1:])]
    return "", ["python", "-m", "mxspark.launch", *given]


def _program(given: Sequence[str]) -> list[str]:
    """Return what runs a command of the environment; of this package, which is not installed there, it is a module."""
    if given[:1] == ["mxspark"]:
        return ["python", "-m", *given]
    return list(given) or ["python"]


def _become(environment: Environment, command: Sequence[str]) -> None:
    """Replace this process by a command that runs in the environment."""
    environment.make()
    # pyspark, python and jupyter start the Spark that it names
    for pyspark in environment.path.glob("lib/python3*/site-packages/pyspark"):
        spark_home(os.environ, pyspark)
    variables = environment.variables(os.environ)
    # before the first JVM: names go through its command line and its files (a notebook's and a pyspark shell's too)
    variables.update(utf8.variables(os.environ))
    variables["JAVA_HOME"] = str(java_home(environment, os.environ))
    try:
        os.execvpe(command[0], list(command), variables)
    except FileNotFoundError:
        raise _no_such(command[0], environment) from None


def _no_such(command: str, environment: Environment) -> MXSparkError:
    from mxspark.errors import InputError

    return InputError(f"there is no command {command!r} in {environment.path / 'bin'} nor on the PATH; check the name")


if __name__ == "__main__":
    sys.exit(main())
