"""The second half of ``submit.sh``, run by the environment's Python: start spark-submit and own it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from mxspark.errors import ClusterError, InputError, MXSparkError
from mxspark.launch import ending, packages, yarn
from mxspark.launch.application import Application, End
from mxspark.launch.children import SparkSubmit, scratch
from mxspark.launch.environment import Environment
from mxspark.launch.installer import Progress
from mxspark.launch.settings import (
    CommandLine,
    check_pythons,
    given_settings,
    option,
    our_arguments,
    own_defaults,
    python_settings,
    sort_arguments,
)
from mxspark.launch.signals import Stopped, heed, heeded, hold
from mxspark.launch.spark_home import our_pyspark, spark_home
from mxspark.protocol import launcher, master
from mxspark.report import result_file
from mxspark.system.stdio import protect_output

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the job and return the exit code."""
    protect_output()
    heed()
    wanted: Optional[str] = None  # the path of --result, once it is known to be one that can be written
    try:
        options, given = yarn.Options.split_off(sys.argv[1:])
        command = sort_arguments(given)
        path = option(command.arguments, "--result")
        result_file.check(path)
        wanted = path
        _check_script(command.script)
        if command.is_ours(ROOT) and {"-h", "--help"} & set(command.arguments):
            os.execv(sys.executable, [sys.executable, command.script, *command.arguments])  # it needs no JVM
        home = spark_home(os.environ, our_pyspark())
        ours = our_arguments(command, os.environ, ROOT, len(os.sched_getaffinity(0)))
        settings = given_settings(command, os.environ)
        if words := master.problem(settings.get("spark.master")):
            raise InputError(words)
        check_pythons(command, sys.executable)
        with scratch() as folder:
            variables = spark_variables(home, command, folder, os.environ)
            if yarn.asked_for(settings):
                return _on_yarn(yarn.Submission(ROOT, home, folder, command, settings, options), ours, variables)
            variables.update(_packages_here(options, settings))
            for key, value in python_settings(settings, sys.executable, sys.executable).items():
                ours += ["--conf", f"{key}={value}"]
            run = SparkSubmit(_program(home, ours, command), variables, command.is_ours(ROOT))
            return _run_and_report(run, folder, command)
    except MXSparkError as error:
        hold()
        return ending.report_refusal(error, wanted)
    except Stopped as stop:
        hold()
        return ending.report_end(None, wanted, stop.exit_code)


def _check_script(script: str) -> None:
    """Refuse a script that is not there, with the one of the checkout that is probably meant."""
    if Path(script).is_file():
        return
    ours = [folder / script for folder in (ROOT, ROOT / "spark_jobs") if (folder / script).is_file()]
    meant = [os.path.relpath(path) if path.is_relative_to(os.getcwd()) else str(path) for path in ours]
    raise InputError(f"there is no script {script} in {os.getcwd()}; name {(*meant, 'one that is there')[0]}")


def _packages_here(options: yarn.Options, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for packages of the user's in a run without YARN."""
    if options.python is not None:
        raise InputError("--python is for the nodes of a cluster: use it with --master yarn")
    if options.requirements is None:
        return {}
    if not settings.get("spark.master", "local").startswith("local"):
        raise InputError("--requirements reaches this machine and the nodes of YARN; use it with one of these masters")
    environment = Environment.wanted(ROOT, os.environ)
    return packages.variables(
        packages.folder(environment, options.requirements, Progress("packages of yours")), os.environ
    )


def _run_and_report(run: SparkSubmit, folder: Path, command: CommandLine) -> int:
    """Run with a driver on this machine, and return the exit code; say how it ended if the driver does not."""
    code = run.run(folder)
    if run.cause is None and (run.has_driver_reported or not run.signal):
        return code
    return ending.report_end(run.cause, option(command.arguments, "--result"), code, launcher.read_progress(folder))


def _program(home: Path, ours: Sequence[str], command: CommandLine) -> list[str]:
    return [str(home / "bin/spark-submit"), *ours, *command.spark, command.script, *command.arguments]


def _on_yarn(wanted: yarn.Submission, ours: Sequence[str], variables: dict[str, str]) -> int:
    """Run on YARN: send what is needed, run, and fetch how it ended where the driver was in the cluster."""
    from mxspark.spark.hadoop.client import connect

    shipment = yarn.Shipment(wanted)
    shipment.check(os.environ)
    with connect(variables) as client:
        shipment.send(client)
    program = _program(wanted.home, ours, shipment.command_line())
    run = SparkSubmit(program, {**variables, **shipment.variables}, wanted.command.is_ours(ROOT))
    if not wanted.is_in_cluster:
        return _run_and_report(run, wanted.folder, wanted.command)
    code = run.run(wanted.folder)
    is_stopped = run.signal != 0 or run.cause is not None
    end, code = _end_in_the_cluster(shipment.application, variables, code, is_stopped)
    return ending.report_outcome(end.outcome, option(wanted.command.arguments, "--result"), code, end.unknown)


def _end_in_the_cluster(
    application: Application, variables: Mapping[str, str], code: int, is_stopped: bool
) -> tuple[End, int]:
    """Find out how an application ended, for as long as that may take, and return it with the exit code so far."""
    from mxspark.spark.hadoop.client import FINISH_S, connect

    print(f"mxspark: asking YARN how it ended, for {FINISH_S:g} s at most", file=sys.stderr)
    try:
        with heeded(), connect(variables, FINISH_S) as client:
            return application.finish(client, is_stopped), code
    except ClusterError as error:
        return application.unknown(error.message), code
    except Stopped as stop:
        return application.unknown(f"{stop} ended the wait for YARN"), code if is_stopped else stop.exit_code


def spark_variables(home: Path, command: CommandLine, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of spark-submit; ``folder`` is for files that go when it ends."""
    variables = dict(environ)
    variables.update(SPARK_HOME=str(home), PYSPARK_PYTHON=sys.executable, PYSPARK_DRIVER_PYTHON=sys.executable)
    options = environ.get("SPARK_SUBMIT_OPTS", "")
    if "java.io.tmpdir" not in options:
        # Spark removes its files there by itself, but not when it is killed
        options += f' -Djava.io.tmpdir="{folder}"'
    if own_defaults(environ) is None and "log4j" not in options:
        options += f" -Dlog4j2.configurationFile={(ROOT / 'conf/log4j2.properties').as_uri()}"
    given = given_settings(command, environ)
    if yarn.in_cluster(command, given):
        options += " -Dmxspark.accepted=info"  # see conf/log4j2.properties
    variables["SPARK_SUBMIT_OPTS"] = options.strip()
    if given.get("spark.master", "local").startswith("local") and "spark.remote" not in given:
        # nothing of a local run is offered to the network, and a machine that cannot resolve its own name will do
        variables.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        variables.setdefault("SPARK_LOCAL_HOSTNAME", "localhost")
        if "spark.local.dir" not in given:
            # Spark removes its files by itself, but not when it has to be killed
            variables.setdefault("SPARK_LOCAL_DIRS", str(folder))
    if sys.stdout.isatty():
        # the driver writes through a pipe of the JVM's: this tells rich what is at the other end
        size = os.get_terminal_size(sys.stdout.fileno())
        variables.setdefault("TTY_COMPATIBLE", "1")
        if size.columns:
            variables.setdefault("COLUMNS", str(size.columns))
            variables.setdefault("LINES", str(size.lines))
    return variables


if __name__ == "__main__":
    sys.exit(main())
