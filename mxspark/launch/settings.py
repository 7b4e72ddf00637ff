"""Which arguments are whose, and what spark-submit is told besides: pure functions of command line and files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mxspark.errors import InputError
from mxspark.launch.job_keys import job_name, num_workers
from mxspark.system import utf8

# SparkSubmitOptionParser of Spark 3.5 and 4.x
_SWITCHES = {"--verbose", "--supervise", "--load-spark-defaults"}
_OPTIONS = {
    "--archives", "--class", "--conf", "--deploy-mode", "--driver-class-path", "--driver-cores",
    "--driver-java-options", "--driver-library-path", "--driver-memory", "--exclude-packages", "--executor-cores",
    "--executor-memory", "--files", "--jars", "--keytab", "--master", "--name", "--num-executors", "--packages",
    "--principal", "--properties-file", "--proxy-user", "--py-files", "--queue", "--remote", "--repositories",
    "--total-executor-cores",
}  # fmt: skip
_GANG_VERBS = {"train": "mxspark", "check": "mxspark check of"}
"""Scripts that need all their slots at once, and what their applications are called before the name of the job."""
_SQL_PYTHON = "spark.sql.execution.pyspark.python"
_PYTHONS = ("spark.pyspark.driver.python", "spark.pyspark.python", _SQL_PYTHON)
"""Settings that name a Python, and win over ``PYSPARK_PYTHON`` and ``PYSPARK_DRIVER_PYTHON``."""


@dataclass(frozen=True)
class CommandLine:
    """A command line, sorted.

    Attributes
    ----------
    spark : tuple of str
        Arguments of spark-submit, as given.
    script : str
        Path of the driver script.
    arguments : tuple of str
        Arguments of the script, in their order.
    """

    spark: tuple[str, ...]
    script: str
    arguments: tuple[str, ...]

    def is_ours(self, root: Path) -> bool:
        """Tell whether the script is one of the checkout's own."""
        return Path(self.script).resolve().parent == (root / "spark_jobs").resolve()

    def value(self, option: str) -> Optional[str]:
        """Return the last value that spark-submit is given for an option."""
        found = None
        for here, after in zip(self.spark, (*self.spark[1:], "")):
            if here == option:
                found = after
            elif here.startswith(option + "="):
                found = here.partition("=")[2]
        return found

    def confs(self) -> dict[str, str]:
        """Return what ``--conf`` sets."""
        pairs = [after for here, after in zip(self.spark, self.spark[1:]) if here in ("--conf", "-c")]
        pairs += [here.partition("=")[2] for here in self.spark if here.startswith("--conf=")]
        return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def sort_arguments(given: Sequence[str]) -> CommandLine:
    """Sort the arguments of ``submit.sh``: spark-submit's from anywhere, then the script and its own.

    Raises
    ------
    InputError
        There is no script, or an option of spark-submit lacks its value.
    """
    spark: list[str] = []
    script: Optional[str] = None
    own: list[str] = []
    broken = [argument for argument in given if utf8.is_broken(argument)]
    if broken:
        raise InputError(
            f"{broken[0]!r} is not UTF-8 and would arrive as another name; write it, and name files, in UTF-8"
        )
    rest = list(given)
    while rest:
        here = rest.pop(0)
        name = here.partition("=")[0]
        if script is not None and here == "--":
            own += rest
            break
        if (name in _OPTIONS and "=" not in here) or (here == "-c" and script is None):
            if not rest:
                raise InputError(f"{here} needs a value, and nothing stands after it; give it one")
            spark += [here, rest.pop(0)]
        elif name in _OPTIONS | _SWITCHES or (script is None and here.startswith("-")):
            spark.append(here)
        elif script is None:
            script = here
        else:
            own.append(here)
    if script is None or not script.endswith(".py"):
        raise InputError(
            f"the first argument that is no option of spark-submit must be a Python script, got {script!r}; "
            "call it as in ./submit.sh spark_jobs/train.py --config conf/digits.yaml"
        )
    return CommandLine(tuple(spark), script, tuple(own))


def own_defaults(environ: Mapping[str, str]) -> Optional[Path]:
    """Return the defaults file of a Spark that the user has set up, or None."""
    folder = environ.get("SPARK_CONF_DIR") or (environ.get("SPARK_HOME") and environ["SPARK_HOME"] + "/conf")
    file = Path(folder) / "spark-defaults.conf" if folder else None
    return file if file and file.is_file() else None


def given_settings(command: CommandLine, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of Spark that are the user's: the defaults file, then ``--conf`` and ``--master``.

    Of a defaults file, which is one of Java's properties, only what Spark's own templates use is read: a key and its
    value on one line. A value that goes on after a backslash is cut off there, escapes of Java's stay as they are, and
    a key with one in it is not found. spark-submit reads the whole file itself; here it only says where the job is to
    run.
    """
    file = command.value("--properties-file")
    path = Path(file) if file else own_defaults(environ)
    settings: dict[str, str] = {}
    with contextlib.suppress(OSError):  # spark-submit says what is wrong with it
        # a comment in Latin-1 must not end the start; Spark reads UTF-8 too
        for line in path.read_text("utf-8", "replace").splitlines() if path else []:
            found = re.match(r"\s*(spark\.[^\s=:]+)[\s=:]+(.*)", line)
            if found:
                settings[found[1]] = found[2].strip()
    settings.update(command.confs())
    for option, key in (("--master", "spark.master"), ("--remote", "spark.remote")):
        value = command.value(option)
        if value is not None:
            settings[key] = value
    return settings


def our_arguments(command: CommandLine, environ: Mapping[str, str], root: Path, cores: int) -> list[str]:
    """Return the arguments of spark-submit that stand in for what the user does not say.

    Parameters
    ----------
    command : CommandLine
        What the user gave.
    environ : Mapping of str to str
        ``SPARK_HOME`` and ``SPARK_CONF_DIR``: a Spark of the user's keeps its own defaults file.
    root : Path
        The checkout, for ``conf/spark-defaults.conf``.
    cores : int
        CPU cores of this machine.
    """
    ours: list[str] = []
    if command.value("--properties-file") is None and own_defaults(environ) is None:
        ours += ["--properties-file", str(root / "conf/spark-defaults.conf")]
    given = given_settings(command, environ)
    if not given.keys() & {"spark.master", "spark.remote"}:
        ours += ["--master", f"local[{max(cores, num_workers(command.arguments))}]"]
    if not given.get("spark.master", "local").startswith("local"):
        # a container has no locale at all, and its JVM then takes names of files for ASCII
        for key in ("spark.executorEnv.LC_ALL", "spark.yarn.appMasterEnv.LC_ALL"):
            ours += [] if key in given else ["--conf", f"{key}={utf8.UTF8}"]
        if command.value("--name") is None and "spark.app.name" not in given:
            ours += _name(command, root)
    wanted = {"spark.ui.showConsoleProgress": "false"}  # it writes over the progress of the training
    if may_form_gang(command.script, root):
        # a barrier stage cannot run with them: its slots must all be there at once, and its Python says nothing to
        # Spark until the end; many clusters turn them on
        wanted = {
            "spark.dynamicAllocation.enabled": "false",
            "spark.python.worker.killOnIdleTimeout": "false",
            **wanted,
        }
    for key, value in wanted.items():
        if key not in command.confs():
            ours += ["--conf", f"{key}={value}"]
    return ours


def _name(command: CommandLine, root: Path) -> list[str]:
    """Return what names the application as its driver will: one in the cluster starts too late to say it to YARN."""
    before = _GANG_VERBS.get(Path(command.script).stem) if command.is_ours(root) else None
    return [] if before is None else ["--name", f"{before} {job_name(command.arguments)}"]


def python_settings(given: Mapping[str, str], driver: str, executors: str) -> dict[str, str]:
    """Return the settings that name a Python; the defaults of a cluster may name one that lacks what a job needs."""
    settings = {"spark.pyspark.driver.python": driver, "spark.pyspark.python": executors}
    # without it the one before it holds for DataFrames too
    return {**settings, _SQL_PYTHON: executors} if _SQL_PYTHON in given else settings


def check_pythons(command: CommandLine, ours: str) -> None:
    """Raise InputError where the command line names another Python than `ours`, which has what a job needs."""
    for key in _PYTHONS:
        given = command.confs().get(key, ours)
        if given != ours:
            raise InputError(
                f"--conf {key}={given}: driver and workers run in the Python of {Path(ours).parent.parent}; leave it "
                "out, or set MXSPARK_ENVIRONMENT to the environment of the other one (with --master yarn --python "
                "names a Python that the nodes have)"
            )


def may_form_gang(script: str, root: Path) -> bool:
    """Tell whether a script may need all its slots at once: training and check do; of the user's own nothing is known.

    Scripts below ``spark_jobs/`` of the checkout are named for their verb.
    """
    path = Path(script).resolve()
    return path.parent != root.resolve() / "spark_jobs" or path.stem in _GANG_VERBS


def option(arguments: tuple[str, ...], name: str) -> Optional[str]:
    """Return the last value of an option."""
    found = None
    for here, after in zip(arguments, (*arguments[1:], "")):
        if here == name:
            found = after
        elif here.startswith(name + "="):
            found = here.partition("=")[2]
    return found


def without(arguments: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return arguments without an option and its value."""
    kept: list[str] = []
    skip = False
    for here in arguments:
        if skip:
            skip = False
        elif here == name:
            skip = True
        elif not here.startswith(name + "="):
            kept.append(here)
    return tuple(kept)
