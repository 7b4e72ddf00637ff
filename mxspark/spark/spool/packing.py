"""How Spark cuts rows into partitions: by the cores it has, unless it is told by what it did so when the job began.

A row is (partition, offset), so a job goes on only with rows that are cut as before. Where Spark is not told otherwise
it takes the number of cores for the least number of partitions of files (``FilePartition.maxSplitBytes``), of local
rows, and of what adaptive execution makes of a shuffle (``CoalesceShufflePartitions``). Cores that come late count too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Optional, Union

from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from mxspark.job.record import PARALLELISM

Packing = Mapping[str, Optional[str]]

_LEAVES = "spark.sql.leafNodeDefaultParallelism"
_FILES = "spark.sql.files.minPartitionNum"
_COALESCED = "spark.sql.adaptive.coalescePartitions.minPartitionNum"
_IS_PARALLELISM_FIRST = "spark.sql.adaptive.coalescePartitions.parallelismFirst"
_OTHERS = (
    "spark.sql.files.maxPartitionBytes",
    "spark.sql.files.openCostInBytes",
    "spark.sql.files.maxPartitionNum",
    "spark.sql.shuffle.partitions",
    "spark.sql.adaptive.enabled",
    "spark.sql.adaptive.coalescePartitions.enabled",
    "spark.sql.adaptive.coalescePartitions.initialPartitionNum",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes",
)

# Of all who read rows in this process now, how many; -1 while one of them has changed the session's settings: whoever
# else read rows then would have them cut so too, and settings put back in another order would stay changed.
_reading = 0
_others = threading.Condition()


def of_session(spark: SparkSession) -> dict[str, Optional[str]]:
    """Return by what a session cuts rows now, by the name of the setting; None for one that is not set."""
    cores = str(spark.sparkContext.defaultParallelism)
    leaves = _get(spark, _LEAVES) or cores
    coalesced = cores if (_get(spark, _IS_PARALLELISM_FIRST) or "true") == "true" else "1"
    return {
        PARALLELISM: cores,
        _LEAVES: leaves,
        _FILES: _get(spark, _FILES) or leaves,
        _COALESCED: _get(spark, _COALESCED) or coalesced,
        **{key: _get(spark, key) for key in _OTHERS},
    }


@contextmanager
def packed_by(spark: SparkSession, wanted: Optional[Packing]) -> Iterator[dict[str, Optional[str]]]:
    """Let the session cut rows as `wanted` inside the ``with``, and give by what it does; it is as before after it.

    Others that read rows meanwhile are waited for where settings have to be changed for that. What is cut by
    ``spark.default.parallelism`` itself (``parallelize``) cannot be told otherwise in a session.
    """
    changes = _begin(spark, wanted or {})
    before = {key: _get(spark, key) for key in changes}
    try:
        _set_all(spark, changes)
        yield of_session(spark)
    finally:
        _set_all(spark, before)
        _end(is_changed=bool(changes))


def _begin(spark: SparkSession, wanted: Packing) -> Packing:
    """Return what to change, as soon as nobody else has changed it, or none reads where something must be changed."""
    global _reading
    with _others:
        while True:
            changes = _changes(spark, wanted) if _reading >= 0 else None
            if changes is not None and not (changes and _reading):
                _reading = -1 if changes else _reading + 1
                return changes
            _others.wait()


def _end(is_changed: bool) -> None:
    global _reading
    with _others:
        _reading = 0 if is_changed else _reading - 1
        _others.notify_all()


def _changes(spark: SparkSession, wanted: Packing) -> Packing:
    now = of_session(spark)
    return {key: value for key, value in wanted.items() if key != PARALLELISM and now.get(key) != value}


def shuffled(data: Union[DataFrame, RDD], columns: Sequence[str], partitions: int) -> Union[DataFrame, RDD]:  # type: ignore[type-arg]
    """Return the rows in partitions and in an order that their content alone decides, where it is known.

    Spark deals rows out in turn, and fetches them in the order in which executors answer: the same rows would come in
    another order each time. The rows of an RDD do.

    Parameters
    ----------
    columns : sequence of str
        Those that count.
    """
    if isinstance(data, RDD):
        return data.repartition(partitions)
    content = F.xxhash64(*(F.col("`{}`".format(name.replace("`", "``"))) for name in columns))
    return data.repartition(partitions, content).sortWithinPartitions(content)


def _get(spark: SparkSession, key: str) -> Optional[str]:
    return spark.conf.get(key, None)


def _set_all(spark: SparkSession, settings: Packing) -> None:
    for key, value in settings.items():
        if value is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, value)
