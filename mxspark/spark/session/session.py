"""The user's Spark session: started, its facts read, and what keeps a gang from being formed in it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from pyspark import SparkContext
from pyspark.sql import SparkSession

from mxspark.data.spool import run_folder_name
from mxspark.errors import ConfigError, InputError
from mxspark.protocol import master as masters
from mxspark.spark.session import local_folders, unfit
from mxspark.spark.session.gateway import starting_jvm
from mxspark.system import java, users, utf8

_LOG = Path(__file__).absolute().with_name("log4j2.properties")
_NO_JVM = "JAVA_GATEWAY_EXITED"
"""What pyspark calls it, 3.5 and 4.x."""


@dataclass(frozen=True)
class SessionFacts:
    """What the driver needs to know of the session it was given.

    Attributes
    ----------
    is_classic : bool
        Whether it has a JVM in the driver, and RDDs; of one that has not (Spark Connect) nothing else is known.
    driver_host : str
        Where executors reach the driver.
    settings : Mapping of str to str
        What is set of the application, and of the session what `unfit` looks at.
    local_folders : tuple of str
        Where Spark makes its local folders on the driver's machine.
    """

    spark: SparkSession
    is_classic: bool = True
    master: str = ""
    driver_host: str = ""
    task_cpus: int = 1
    local_folders: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def one_machine(self) -> bool:
        """Whether every executor is on the driver's machine by construction."""
        return self.master.startswith("local")

    @property
    def on_yarn(self) -> bool:
        """Whether executors are containers of YARN, whose memory is counted."""
        return self.master.startswith("yarn")


def start(app_name: str, master: Optional[str] = None) -> SparkSession:
    """Return the active session, or make one from what spark-submit or the environment say."""
    if trouble := users.nameless() or masters.problem(master):
        raise InputError(trouble)
    builder = SparkSession.builder.appName(app_name)
    variables = dict(utf8.variables(os.environ))
    if SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ:  # a JVM that is there has its own
        builder = builder.config("spark.ui.showConsoleProgress", "false")  # it writes over the progress of the training
        variables.update(_quiet(os.environ))
    try:
        with starting_jvm(), _environment(variables):
            return (builder if master is None else builder.master(master)).getOrCreate()
    except Exception as error:
        if _NO_JVM not in str(error):
            raise
        raise InputError(_no_jvm(os.environ)) from error


def _no_jvm(environ: Mapping[str, str]) -> str:
    """Return why there is no JVM, as far as it can be told; what it said itself is on the terminal."""
    home, on_path = environ.get("JAVA_HOME"), shutil.which("java")
    program = Path(home) / "bin/java" if home else Path(on_path or "java")
    if words := java.spoilt(program, environ):
        return words
    if java.major(java.ask(program, environ).text) >= java.OLDEST:
        return (
            "Spark ended before it had started, and what it said stands above; its Java is one that will do "
            f"({program}): look at spark-defaults.conf, SPARK_SUBMIT_OPTS and PYSPARK_SUBMIT_ARGS"
        )
    return (
        "Spark's Java ended before it had started, and what it said stands above; Spark needs Java 17 or newer: set "
        f"JAVA_HOME to one (it is {home or 'not set'}; java on the PATH is {on_path or 'not there'})"
    )


def _quiet(environ: Mapping[str, str]) -> dict[str, str]:
    """Return with what a JVM says as little as under ``submit.sh``, unless the user has set up a log."""
    options = environ.get("SPARK_SUBMIT_OPTS", "")
    home = environ.get("SPARK_HOME")
    folder = environ.get("SPARK_CONF_DIR") or (home and f"{home}/conf")
    has_own = "log4j" in options or (folder and (Path(folder) / _LOG.name).is_file())
    if has_own or not _LOG.is_file():  # the package may lie in an archive
        return {}
    return {"SPARK_SUBMIT_OPTS": f"{options} -Dlog4j2.configurationFile={_LOG.as_uri()}".strip()}


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the JVM that is started inside the ``with``."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check_names(spark: SparkSession, names: Mapping[str, str]) -> None:
    """Prove that the JVM of a session can say names of local files, by the keys they come from.

    Raises
    ------
    InputError
        Java would put ``?`` for each letter its encoding lacks, and read or make a file of another name.
    """
    jvm: Any = spark._jvm
    encoding = str(jvm.java.lang.System.getProperty("sun.jnu.encoding"))
    local = {key: name for key, name in names.items() if re.match(r"file:|(?![A-Za-z][\w+.-]*:)", name)}
    for key in utf8.unsayable(local, encoding):
        raise InputError(
            f"{key} is {local[key]!r}, but the JVM of this session knows the letters of {encoding} only (its locale), "
            f"and would take another file; start the session with LC_ALL={utf8.UTF8} in the environment, or rename it"
        )


def announce(spark: SparkSession) -> None:
    """Say which application this is, where there is a cluster that keeps its logs."""
    context = spark.sparkContext
    if str(context.master).startswith("yarn"):
        name = context.applicationId
        print(f"mxspark: {name} on YARN; its logs: yarn logs -applicationId {name}", file=sys.stderr, flush=True)


def facts(spark: Any) -> SessionFacts:
    """Read a session's facts, of whatever kind it is; what can be done with it is for others to say."""
    if not isinstance(spark, SparkSession) or getattr(spark, "_jsparkSession", None) is None:
        return SessionFacts(spark, is_classic=False)
    conf = spark.sparkContext.getConf()
    master = str(spark.sparkContext.master)
    one_machine = re.match(r"local(\[|$)|local-cluster", master) is not None
    return SessionFacts(
        spark=spark,
        master=master,
        driver_host="127.0.0.1" if one_machine else str(conf.get("spark.driver.host") or "127.0.0.1"),
        task_cpus=int(conf.get("spark.task.cpus") or 1),
        local_folders=local_folders.of_driver(conf.get("spark.local.dir")),
        settings={**dict(conf.getAll()), **{key: value for key in unfit.SQL if (value := _asked(spark, key))}},
    )


def gang_problems(facts: SessionFacts) -> list[InputError]:
    """Return why no gang can be formed in a session: its slots have to be there at once, and left alone. Pure."""
    if not facts.is_classic:
        return [
            InputError(
                "this is a Spark Connect session, which has no driver JVM and no RDDs; mxspark needs a classic one: "
                "start it with SparkSession.builder.master(...) and without remote(...) or SPARK_REMOTE"
            )
        ]
    return [ConfigError(text) for text in unfit.problems(facts.settings)]


def _asked(spark: SparkSession, key: str) -> Optional[str]:
    """Return a setting of this session, None where this Spark does not know it."""
    return spark.conf.get(key, None)


def scheduled_id() -> Optional[str]:
    """Return the name of the scheduled work this process does, the same in every try of it; None if none is known.

    Airflow gives every try of a task its DAG, task and DAG run (``scheduled__2024-01-01T00:00:00+00:00``).
    """
    parts = [os.environ.get(f"AIRFLOW_CTX_{name}", "") for name in ("DAG_ID", "TASK_ID", "DAG_RUN_ID")]
    return re.sub(r"[^\w.-]", "_", ".".join(parts)) if all(parts) else None


def command_id(facts: SessionFacts, job_id: Optional[str]) -> Optional[str]:
    """Return what names a command in all of its tries: the job's id if it has one, what schedules it, or YARN's name.

    None where nothing does: whoever gives a command again by hand means it.
    """
    return job_id or scheduled_id() or application(facts)


def application(facts: SessionFacts) -> Optional[str]:
    """Return the name of the application of a driver in a cluster, which YARN starts once more if it is lost."""
    context = facts.spark.sparkContext
    return str(context.applicationId) if context.getConf().get("spark.submit.deployMode") == "cluster" else None


def remove_spools(session: SessionFacts, run: str) -> None:
    """Remove the spools of a run from this machine's local folders of Spark, also those of tasks that never answered.

    Executors on other machines remove theirs when they end.
    """
    for folder in session.local_folders:
        for spool in Path(folder).glob(f"*/{run_folder_name(run)}"):
            shutil.rmtree(spool)
