"""What the containers of a run on YARN have and need; warned of before the launch, named when one was killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from mxspark.config.job_config import JobConfig
from mxspark.errors import ClusterError, MXSparkError
from mxspark.spark.session.session import SessionFacts
from mxspark.topology import memory
from mxspark.topology.memory import Container


def containers(facts: SessionFacts, job: JobConfig, values: Optional[int] = None) -> list[Container]:
    """Return the fullest container of each kind that holds processes of ours; empty where nobody counts memory.

    Parameters
    ----------
    values : int, optional
        Number of trained parameters, where it is known.
    """
    if not facts.on_yarn:
        return []
    conf = facts.spark.sparkContext.getConf()
    workers = job.cluster.num_workers
    servers = job.servers_for(workers)
    executors = memory.executor(
        **_sizes(conf, "executor"),
        slots=int(conf.get("spark.executor.cores") or 1) // facts.task_cpus,
        workers=workers,
        servers=servers - job.cluster.servers_on_driver,
        values=values,
        batch_mib=_batch_mib(job),
    )
    if conf.get("spark.submit.deployMode") != "cluster":
        return [executors]
    driver = memory.driver(
        **_sizes(conf, "driver"),
        servers=job.cluster.servers_on_driver,
        has_scheduler=servers > 0,
        values=values,
    )
    return [executors, driver]


def warnings(facts: SessionFacts, job: JobConfig, values: Optional[int] = None) -> list[str]:
    """Return a line for each kind of container that has too little, with the setting that gives it enough."""
    return [
        f"{container.describe()}; YARN kills a container that outgrows its memory: {container.setting}"
        for container in containers(facts, job, values)
        if not container.fits
    ]


def explained(
    error: MXSparkError, said: Optional[str], facts: SessionFacts, job: JobConfig, values: Optional[int]
) -> MXSparkError:
    """Return an error as one of memory if what Spark says of the lost stage is that YARN killed a container for it."""
    killed = memory.killed_by_yarn(said or "")
    if killed is None or error.cause is None:
        return error
    found = containers(facts, job, values)
    advice = f"; {found[0].describe()}: {found[0].setting}, or more" if found else ""
    cause = replace(error.cause, kind="memory", message=f"{killed}{advice}", traceback="", log_tail="")
    return ClusterError(cause.describe(), cause)


def _sizes(conf: Any, kind: str) -> dict[str, int]:
    """Return heap and overhead of a kind of container, as Spark works them out."""
    heap = memory.mib(conf.get(f"spark.{kind}.memory") or "1g")
    factor = conf.get(f"spark.{kind}.memoryOverheadFactor")
    overhead = memory.overhead_of(heap, conf.get(f"spark.{kind}.memoryOverhead"), factor)
    python = conf.get("spark.executor.pyspark.memory") if kind == "executor" else None
    return {"heap": heap, "overhead": overhead + (memory.mib(python) if python else 0)}


def _batch_mib(job: JobConfig) -> int:
    """Return the size of a worker's share of a batch, at least 1, where shapes are declared."""
    width = 0
    for spec in (*job.features(), *job.labels()):
        count = 1
        for extent in spec.shape or (len(spec.columns),):
            count *= extent
        width += count * 4
    return max(1, job.training.batch_size // job.cluster.num_workers * width // memory.MIB)
