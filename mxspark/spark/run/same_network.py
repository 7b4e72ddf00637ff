"""Whether the network of a job is the one it was trained with, where no worker says so: one that has nothing left."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Optional

from mxspark.check import node
from mxspark.check.findings import Built
from mxspark.config import resolve
from mxspark.data.spool import ColumnSpec
from mxspark.errors import JobDirError, TrainingCodeError
from mxspark.job import fixed
from mxspark.protocol import codec
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.task import python_path
from mxspark.spark.session.call import SparkCall


def check(context: RunContext, known: tuple[str, ...], features: tuple[ColumnSpec, ...]) -> Built:
    """Build the network in a task, as a worker would, and compare it with what is known of it.

    Returns
    -------
    Built
        The same network, or, in `trouble`, why that is not known.

    Raises
    ------
    JobDirError
        If the network is another one.
    TrainingCodeError
        If the user's function raises.
    """
    network = context.job.training.network.label
    built = _built(context, features)
    if built.trouble:
        why = f"whether the network {network} is still the one that was trained is not known: {built.trouble}"
        return replace(built, trouble=why)
    other = fixed.other_graph(known, built.graph)
    if other is not None:
        raise JobDirError(fixed.refusal(network, other))
    return built


def difference(context: RunContext, known: tuple[str, ...], features: tuple[ColumnSpec, ...]) -> Optional[str]:
    """Return how the network differs from what is known of it; None if it does not, or that is not known.

    Raises
    ------
    TrainingCodeError
        If the user's function raises.
    """
    built = _built(context, features)
    return None if built.trouble else fixed.other_graph(known, built.graph)


def _built(context: RunContext, features: tuple[ColumnSpec, ...]) -> Built:
    context.display.phase("comparing the network")  # it takes a process that imports MXNet
    built = _build(context, features)
    if built.by_user:
        network = context.job.training.network.label
        raise TrainingCodeError(f"the network {network} cannot be built any more; mend it: {built.trouble}")
    return built


def _build(context: RunContext, features: tuple[ColumnSpec, ...]) -> Built:
    job = context.job
    given: dict[str, Any] = {
        "order": json.dumps(codec.encode(resolve.build_order(job, features))),
        "sys_path": [str(Path(entry).absolute()) for entry in sys.path],
        "environment": dict(job.cluster.environment),
        "limit_s": job.failure.start_s,
    }
    spark = context.facts.spark.sparkContext
    stage = spark.parallelize([0], 1).mapPartitions(partial(run, json.dumps(given)))
    description = f"mxspark {job.job.name}: is it the same network?"
    call = SparkCall(spark, f"mxspark-{context.run_id}-network-{uuid.uuid4().hex[:8]}", description, stage.collect)
    return codec.decode(Built, json.loads(call.result()[0]))


def run(given_json: str, _rows: Iterable[int]) -> Iterator[str]:
    """Build the network in this task, and yield a `Built` as JSON."""
    given = json.loads(given_json)
    path = python_path(tuple(given["sys_path"]))
    yield json.dumps(asdict(node.build(given["order"], path, given["environment"], given["limit_s"])))
