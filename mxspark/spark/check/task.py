"""What runs in a barrier task of ``mxspark check``: look at the place where a worker would be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark import BarrierTaskContext

from mxspark.check import network, node
from mxspark.check.findings import Probe
from mxspark.job.spec import BuildOrder
from mxspark.protocol import codec
from mxspark.spark.run.task import python_path
from mxspark.spark.session import local_folders
from mxspark.system import procfs
from mxspark.topology import identity


@dataclass(frozen=True)
class ProbeOrder:
    """What a task is told.

    Attributes
    ----------
    address, secret
        Where the driver listens, and what it wants to be known (hex).
    order : BuildOrder
        For rank 0; the others only import MXNet.
    sys_path : tuple of str
        The driver's module path.
    environment : dict
        Variables the job names for its roles.
    limit_s : float
        For the process that builds the network.
    """

    address: tuple[str, int]
    secret: str
    order: BuildOrder
    sys_path: tuple[str, ...]
    environment: dict[str, str]
    limit_s: float


def run(order_json: str, _rows: Iterable[int]) -> Iterator[str]:
    """Look around and yield a `Probe` as JSON."""
    context = BarrierTaskContext.get()
    order = codec.decode(ProbeOrder, json.loads(order_json))
    rank = context.partitionId()
    to_driver, from_driver, clock_s = network.meet(order.address, bytes.fromhex(order.secret))
    found = Probe(
        rank=rank,
        host=os.uname().nodename,
        python=node.python_version(),
        packages=node.versions(),
        identity=identity.host_identity(),
        socket=node.socket_trouble(),
        memory=node.memory_trouble(),
        disks=tuple(node.disk(Path(folder)) for folder in local_folders.of_task()),
        files=node.limit("NOFILE"),
        threads=node.limit("NPROC"),
        threads_now=procfs.thread_count(os.getuid()),
        ports=node.ports(),
        cores=len(os.sched_getaffinity(0)),
        to_driver=to_driver,
        from_driver=from_driver,
        clock_s=clock_s,
        gpus=_gpus(context, rank),
        built=node.build(
            json.dumps(codec.encode(order.order if rank == 0 else BuildOrder())),
            python_path(order.sys_path),
            order.environment,
            order.limit_s,
        ),
    )
    yield json.dumps(codec.encode(found))


def _gpus(context: Any, rank: int) -> tuple[str, ...]:
    resources = context.resources() or {}
    gpus = resources.get("gpu")
    return tuple(f"{os.uname().nodename}:{rank}:{address}" for address in gpus.addresses) if gpus else ()
