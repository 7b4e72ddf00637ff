"""How Spark cuts rows into partitions: by the cores it has, unless it is told by what it did so when the job began.

A row is (partition, offset), so a job goes on only with rows that are cut as before. Where Spark is not told otherwise
it takes the number of cores for the least number of partitions of files (``FilePartition.maxSplitBytes``), of local
rows, and of what adaptive execution makes of a shuffle (``CoalesceShufflePartitions``). Cores that come late count too.
"""

from __future__ import annotations

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
def packed_by(spark: SparkSession, wanted: Packing) -> Iterator[None]:
    """Let the session cut rows as `wanted` inside the ``with``; it is as before after it.

    What is cut by ``spark.default.parallelism`` itself (``parallelize``) cannot be told otherwise in a session.
    """
    now = of_session(spark)
    changed = {key: value for key, value in wanted.items() if key != PARALLELISM and now.get(key) != value}
    before = {key: _get(spark, key) for key in changed}
    try:
        for key, value in changed.items():
            _set(spark, key, value)
        yield
    finally:
        for key, value in before.items():
            _set(spark, key, value)


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


def _set(spark: SparkSession, key: str, value: Optional[str]) -> None:
    if value is None:
        spark.conf.unset(key)
    else:
        spark.conf.set(key, value)
