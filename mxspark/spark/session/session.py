"""Facts about the user's Spark session, and the checks that need no job to be run."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from pyspark.sql import SparkSession

from mxspark.data.spool import run_folder_name
from mxspark.errors import ClusterError, ConfigError, InputError
from mxspark.spark.session.gateway import starting_jvm
from mxspark.system import utf8


@dataclass(frozen=True)
class SessionFacts:
    """What the driver needs to know of the session it was given."""

    spark: SparkSession
    master: str
    driver_host: str
    task_cpus: int
    local_folders: tuple[str, ...]

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
    builder = SparkSession.builder.appName(app_name)
    with starting_jvm(), _names_are_utf8():
        return (builder if master is None else builder.master(master)).getOrCreate()


@contextmanager
def _names_are_utf8() -> Iterator[None]:
    """Let the JVM that is started inside the ``with`` take names for UTF-8, under ``LC_ALL=C`` too."""
    changes = utf8.variables(os.environ)
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
    """Read the session's facts.

    Raises
    ------
    InputError
        For a Spark Connect session, and for dynamic allocation.
    """
    if not isinstance(spark, SparkSession) or getattr(spark, "_jsparkSession", None) is None:
        raise InputError(
            "this is a Spark Connect session, which has no driver JVM and no RDDs; mxspark needs a classic one: "
            "start it with SparkSession.builder.master(...) and without remote(...) or SPARK_REMOTE"
        )
    conf = spark.sparkContext.getConf()
    if (conf.get("spark.dynamicAllocation.enabled") or "false").lower() == "true":
        raise ConfigError(
            "spark.dynamicAllocation.enabled is true, but the workers are one barrier stage, which Spark does not run "
            "with dynamic allocation; start the session with --conf spark.dynamicAllocation.enabled=false and "
            "spark.executor.instances"
        )
    master = str(spark.sparkContext.master)
    one_machine = re.match(r"local(\[|$)|local-cluster", master) is not None
    return SessionFacts(
        spark=spark,
        master=master,
        driver_host="127.0.0.1" if one_machine else str(conf.get("spark.driver.host") or "127.0.0.1"),
        task_cpus=int(conf.get("spark.task.cpus") or 1),
        local_folders=_local_folders(conf.get("spark.local.dir")),
    )


def scheduled_id() -> Optional[str]:
    """Return the name of the scheduled work this process does, the same in every try of it; None if none is known.

    Airflow gives every try of a task its DAG, task and DAG run (``scheduled__2024-01-01T00:00:00+00:00``).
    """
    parts = [os.environ.get(f"AIRFLOW_CTX_{name}", "") for name in ("DAG_ID", "TASK_ID", "DAG_RUN_ID")]
    return re.sub(r"[^\w.-]", "_", ".".join(parts)) if all(parts) else None


def wait_for_slots(session: SessionFacts, workers: int, limit_s: float) -> None:
    """Return when the application has a slot for each worker.

    Raises
    ------
    ClusterError
        If they can never come, or have not come within `limit_s` seconds.
    """
    most = _most_slots(session.master, session.task_cpus)
    if most is not None and most < workers:
        raise ClusterError(
            f"cluster.num_workers is {workers}, but the master {session.master!r} never has more than {most} "
            f"slot{'s' if most > 1 else ''} (spark.task.cpus={session.task_cpus}); lower cluster.num_workers or start "
            f"Spark with --master local[{workers}]"
        )
    deadline = time.monotonic() + limit_s
    while True:
        have = _slots_now(session.spark)
        if have >= workers:
            return
        if spark_is_stopped(session.spark):
            raise ClusterError(
                "the Spark session was stopped, so that no slots can come (on YARN: the application was killed, or its "
                "master is gone for good); start another"
            )
        if time.monotonic() > deadline:
            raise ClusterError(
                f"cluster.num_workers is {workers}, but after {limit_s:g} s (failure.start_s) Spark has {have} slots; "
                "ask for more executors (--num-executors, --executor-cores) or lower cluster.num_workers"
            )
        time.sleep(0.2)


def slots_for(session: SessionFacts, wanted: int, fewest: int, limit_s: float) -> int:
    """Return how many workers to go on with after a loss: `wanted`, or what there is in the end, at least `fewest`.

    Raises
    ------
    ClusterError
        If there are fewer slots than that after `limit_s` seconds.
    """
    try:
        wait_for_slots(session, wanted, limit_s)
    except ClusterError:
        have = _slots_now(session.spark)
        if have < fewest:
            raise
        return min(have, wanted)
    return wanted


def remove_spools(session: SessionFacts, run: str) -> None:
    """Remove the spools of a run from this machine's local folders of Spark, also those of tasks that never answered.

    Executors on other machines remove theirs when they end.
    """
    for folder in session.local_folders:
        for spool in Path(folder).glob(f"*/{run_folder_name(run)}"):
            shutil.rmtree(spool)


def _local_folders(configured: Optional[str]) -> tuple[str, ...]:
    """Return where Spark makes its local folders, in Spark's own order of precedence."""
    return tuple((os.environ.get("SPARK_LOCAL_DIRS") or configured or tempfile.gettempdir()).split(","))


def _most_slots(master: str, task_cpus: int) -> int | None:
    """Return the slots a master string can give at most, None where only the cluster knows."""
    local = re.fullmatch(r"local(?:\[\s*([0-9]+|\*)\s*(?:,\s*[0-9]+\s*)?\])?", master)
    if local:
        cores = {None: 1, "*": os.cpu_count() or 1}.get(local.group(1)) or int(local.group(1))
        return cores // task_cpus
    small = re.fullmatch(r"local-cluster\[\s*([0-9]+)\s*,\s*([0-9]+)\s*,.*\]", master)
    if small:
        return int(small.group(1)) * (int(small.group(2)) // task_cpus)
    return None


def spark_is_stopped(spark: SparkSession) -> bool:
    """Tell whether somebody, YARN perhaps, has stopped the session's context."""
    context: Any = spark.sparkContext._jsc
    return context is None or bool(context.sc().isStopped())


def _slots_now(spark: SparkSession) -> int:
    """Return how many tasks the registered executors can run at once."""
    context: Any = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    return int(context.maxNumConcurrentTasks(profile))
