"""``mxspark check``: everything that can keep a job from running, found out in the cluster before it is started."""

from __future__ import annotations

import contextlib
import json
import posixpath
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Optional

from pyspark.sql import SparkSession

from mxspark.check import network, node, verdict
from mxspark.check.findings import CLUSTER, INPUT, OK, PROBLEM, WARNING, Expected, Finding, Probe
from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.data import row_problems
from mxspark.data.spool import ColumnSpec
from mxspark.data.survey import Survey
from mxspark.errors import ClusterError, InputError, MXSparkError
from mxspark.errors.spelling import counted
from mxspark.job import fixed
from mxspark.job.spec import BuildOrder
from mxspark.jobdir import fixed_file, layout, record_file
from mxspark.protocol import codec
from mxspark.spark.check import task
from mxspark.spark.check.task import ProbeOrder
from mxspark.spark.hadoop import storage as hadoop
from mxspark.spark.run import memory, options, starting_over
from mxspark.spark.run.timing import run_id
from mxspark.spark.session import compat, session, slots
from mxspark.spark.session.call import SparkCall
from mxspark.spark.session.session import SessionFacts
from mxspark.spark.spool import inputs
from mxspark.spark.spool import stage as spool_stage
from mxspark.storage import open_storage
from mxspark.storage.base import Storage, join
from mxspark.topology.identity import host_identity

Columns = tuple[tuple[ColumnSpec, ...], tuple[ColumnSpec, ...]]


def check(
    job: JobConfig, spark: SparkSession, say: Callable[[str], None], show: Callable[[Finding], None]
) -> list[Finding]:
    """Look at everything a job needs, and change nothing.

    Parameters
    ----------
    say : callable
        Told in words what is looked at.
    show : callable
        Given each finding as it is made.
    """
    facts = session.facts(spark)
    checkup = _Checkup(job, facts, say, show)
    problems = session.gang_problems(facts)
    if problems:  # without barrier stages and RDDs nothing else can be looked at
        return checkup.refuse(problems)
    return checkup.run()


class _Checkup:
    """One check."""

    def __init__(
        self, job: JobConfig, facts: SessionFacts, say: Callable[[str], None], show: Callable[[Finding], None]
    ) -> None:
        self._job = job
        self._facts = facts
        self._say = say
        self._show = show
        self._found: list[Finding] = []

    def refuse(self, problems: Sequence[InputError]) -> list[Finding]:
        """Say why there is nothing to look at."""
        for problem in problems:
            self._note("session", problem.message, PROBLEM, by=INPUT)
        return self._found

    def run(self) -> list[Finding]:
        """Look, in the order a job would meet what is wrong."""
        self._note("session", f"{self._facts.master}, Spark {self._facts.spark.version}, no dynamic allocation")
        self._say("looking at the slots")
        slots = self._tried("slots", CLUSTER, self._slots)
        self._say("looking at the job dir")
        self._tried("job dir", INPUT, self._job_dir)
        self._say("looking at the data")
        columns = self._tried("data", INPUT, self._data)
        probes: list[Probe] = []
        if slots:
            self._say(f"building the network where {counted(self._job.cluster.num_workers, 'worker')} will be")
            probes = self._tried("executors", CLUSTER, lambda: self._probe(columns)) or []
        self._say("looking at the memory")
        for finding in verdict.judge(probes, self._expected()) if probes else ():
            self._add(finding)
        self._memory(next((p.built.values for p in probes if p.built.values is not None), None))
        return self._found

    def _note(self, subject: str, seen: str, status: str = OK, fix: str = "", by: str = CLUSTER) -> None:
        self._add(Finding(subject, status, seen, fix, by))

    def _add(self, finding: Finding) -> None:
        self._found.append(finding)
        self._show(finding)

    def _tried(self, subject: str, by: str, look: Callable[[], Any]) -> Any:
        """Return what `look` does; what it raises is a problem, whose message has its remedy."""
        try:
            return look()
        except MXSparkError as error:
            self._note(subject, error.message, PROBLEM, by=INPUT if isinstance(error, InputError) else by)
        except compat.SPARK_ERRORS as error:
            self._note(subject, compat.message_of(error), PROBLEM, "see the executors' logs", CLUSTER)
        return None

    def _slots(self) -> bool:
        workers = self._job.cluster.num_workers
        slots.wait_for(self._facts, workers, self._job.failure.start_s)
        self._note("slots", f"{workers} for {counted(workers, 'worker')}")
        return True

    def _job_dir(self) -> None:
        spark, path = self._facts.spark, self._job.job_dir
        storage = open_storage(path, lambda: hadoop.HadoopStorage(spark), local_run=self._facts.one_machine)
        with _as_it_was(storage, storage.qualify(path)) as qualified:
            wish = starting_over.wish(self._job, self._facts, options.of(self._job))
            layout.preflight(storage, qualified, None if wish else resolve.settings(self._job))
            if wish is None:
                fixed_file.compare(storage, qualified, fixed.options_of_loss(self._job.training))
            begins = starting_over.foreseen(storage, qualified, wish, resolve.settings(self._job))
            self._note("job dir", f"{qualified} can be written, and this job may use it{begins}")
            if isinstance(storage, hadoop.HadoopStorage):
                self._add(_clock_of(storage, qualified))

    def _data(self) -> Optional[Columns]:
        """Read the first row as a run would, and return the columns with their shapes."""
        job, spark = self._job, self._facts.spark
        unread: list[InputError] = []
        data = None if job.data.path is None else inputs.opened(spark, job, "data.path", unread)
        validation = job.data.validation.path
        other = None if validation is None else inputs.opened(spark, job, "data.validation.path", unread)
        inputs.check(job, data, other, unread)
        if data is None:
            self._note("data", "data.path is not set: a DataFrame or RDD comes from Python")
            return None
        self._say("reading the first row")
        run = run_id()
        columns = job.spooled()
        ready = spool_stage.spool(data.limit(1), *columns, run, "check", tells_all=True)
        try:
            survey = Survey.of(ready, (*columns[0], *columns[1]))
            troubles = row_problems.problems(survey, *columns)
            if troubles:
                self._note("data", "; ".join(troubles), PROBLEM, by=INPUT)
                return None
            self._note("data", f"{job.data.path} can be read, and its first row is as declared")
            return survey.settled(columns[0]), survey.settled(columns[1])
        finally:
            spool_stage.remove(ready, run)
            session.remove_spools(self._facts, run)

    def _probe(self, columns: Optional[Columns]) -> list[Probe]:
        """Send a task to the place of every worker, at once."""
        workers, limit_s = self._job.cluster.num_workers, self._job.failure.start_s
        context = self._facts.spark.sparkContext
        secret = secrets.token_bytes(32)
        with contextlib.closing(network.Listener(self._facts.driver_host, secret)) as listener:
            order = ProbeOrder(
                address=listener.address,
                secret=secret.hex(),
                # the job's network, where the shapes are known
                order=BuildOrder() if columns is None else resolve.build_order(self._job, columns[0]),
                sys_path=tuple(str(Path(entry).absolute()) for entry in sys.path),
                environment=dict(self._job.cluster.environment),
                limit_s=limit_s,
            )
            body = partial(task.run, json.dumps(codec.encode(order)))
            stage = context.parallelize(range(workers), workers).barrier().mapPartitions(body)
            description = f"mxspark {self._job.job.name}: check"
            call = SparkCall(context, f"mxspark-check-{uuid.uuid4().hex}", description, stage.collect)
            # within the ``with``: the tasks meet the listener, and only then answer
            lines = call.result(partial(_ensure_in_time, time.monotonic() + 2 * limit_s, limit_s))
        answers = [codec.decode(Probe, json.loads(line)) for line in lines]
        return sorted(answers, key=lambda found: found.rank)

    def _expected(self) -> Expected:
        """Return what the driver has."""
        cluster = self._job.cluster
        roles = cluster.num_workers + self._job.servers_for(cluster.num_workers) + 1
        threads = cluster.threads_per_worker or self._facts.task_cpus
        local = self._job.transport.mode == "local"
        identity = host_identity()
        return Expected(node.python_version(), node.versions(), identity, roles, threads, local)

    def _memory(self, parameters: Optional[int]) -> None:
        """Say what the containers need; with the job's network, if that could be built."""
        found = memory.containers(self._facts, self._job, parameters)
        if not found:
            self._note("memory", "no container counts it" if self._facts.one_machine else "not counted by YARN here")
        for container in found:
            subject = f"memory of {'an executor' if container.kind == 'executor' else 'the driver'}"
            words = container.describe() + ("" if parameters is not None else "; the network is not counted")
            status = OK if container.fits else PROBLEM if container.is_hopeless else WARNING
            kills = "" if container.fits else "; YARN kills a container that outgrows heap and overhead together"
            self._note(subject, words + kills, status, "" if container.fits else container.setting)


@contextlib.contextmanager
def _as_it_was(storage: Storage, path: str) -> Iterator[str]:
    """Remove at the end what a check of the job dir has made: folders that were not there, and are empty."""
    made = [join(path, record_file.TMP)]
    while made[-1].strip("/") and storage.stat(made[-1]) is None:
        made.append(posixpath.dirname(made[-1]))
    try:
        yield path
    finally:
        for folder in made[:-1]:
            with contextlib.suppress(MXSparkError, OSError):  # somebody else has put something there meanwhile
                storage.remove(folder)


def _clock_of(storage: Storage, path: str) -> Finding:
    """Compare the clock of the filesystem with the driver's, by the time it gives a new file."""
    file = join(path, record_file.TMP, f"clock-{uuid.uuid4().hex}")
    before = time.time()
    storage.create(file, b"")
    try:
        ours = (before + time.time()) / 2
        entry = storage.stat(file)
        skew_s = entry.changed / 1000 - ours if entry is not None else 0.0
    finally:
        storage.remove(file)
    return verdict.clock_finding("clock of the job dir", skew_s, "the clock of its filesystem")


def _ensure_in_time(deadline: float, limit_s: float) -> None:
    """Raise once the tasks have had twice `limit_s`: one to come to their slots, and one to look around there."""
    if time.monotonic() > deadline:
        raise ClusterError(
            f"the tasks that look at the workers' places did not end within {2 * limit_s:g} s (twice "
            "failure.start_s); see the executors' logs, and whether something else keeps them busy"
        )
