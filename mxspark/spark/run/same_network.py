"""Whether the network of a job that has nothing left to train is the one it was trained with; no worker starts."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mxspark.check import node
from mxspark.check.findings import Built
from mxspark.config import resolve
from mxspark.data.plan import rows_of_share
from mxspark.data.spool import ColumnSpec
from mxspark.errors import JobDirError, TrainingCodeError
from mxspark.job import fixed
from mxspark.protocol import codec
from mxspark.spark.run.context import RunContext
from mxspark.spark.run.task import python_path
from mxspark.spark.session.call import SparkCall


def check(context: RunContext, known: tuple[str, ...], features: tuple[ColumnSpec, ...]) -> str:
    """Build the network in a task, as a worker would, and compare it with what is known of it.

    Returns
    -------
    str
        Why that could not be done; "" where it could, and the network is the same.

    Raises
    ------
    JobDirError
        If the network is another one.
    TrainingCodeError
        If the user's function raises.
    """
    built = _build(context, features)
    network = context.job.training.network.label
    if built.by_user:
        raise TrainingCodeError(f"the network {network} cannot be built any more; mend it: {built.trouble}")
    if built.trouble:
        return f"whether the network {network} is still the one that was trained is not known: {built.trouble}"
    other = fixed.other_graph(known, built.graph)
    if other is not None:
        raise JobDirError(fixed.refusal(network, other))
    return ""


def _build(context: RunContext, features: tuple[ColumnSpec, ...]) -> Built:
    job = context.job
    rows = rows_of_share(job.training.batch_size, job.cluster.num_workers)
    order = {
        "training": codec.encode(resolve.training_spec(job)),
        "inputs": [[rows, *(spec.shape or ())] for spec in features],
    }
    given: dict[str, Any] = {
        "order": json.dumps(order),
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
