"""How many rows Spark holds at once while they are read: as many wide ones as narrow ones, until the heap is full."""

from __future__ import annotations

import re
from typing import Optional

from pyspark.sql import SparkSession

from mxspark.errors import ClusterError
from mxspark.errors.cause import Cause
from mxspark.errors.kinds import KINDS

READER = "spark.sql.parquet.columnarReaderBatchSize"
PYTHON = "spark.sql.execution.arrow.maxRecordsPerBatch"

#: What is said of a heap that is full: in the error of a task, or of an executor that has ended for it.
_FULL = re.compile(r"java\.lang\.OutOfMemoryError|[Ee]xit(?:ed with)?(?: |: )(?:code|status):? 52\b")
# in the stack of it: who has asked for what was not there
_ASKED = ((r"ColumnVector|vectorized reader", READER), (r"arrow", PYTHON))


def described(spark: SparkSession) -> str:
    """Return what a JVM holds of the rows that are read, with the settings."""
    context = spark.sparkContext
    heap = "spark.driver.memory" if str(context.master).startswith("local") else "spark.executor.memory"
    size = context.getConf().get(heap) or "1g"
    read, given = spark.conf.get(READER), spark.conf.get(PYTHON)
    return (
        f"rows were read {read} at a time ({READER}) and given to Python {given} at a time ({PYTHON}), however wide "
        f"they are, with {heap} = {size}"
    )


def out_of_heap(spark: SparkSession, text: str) -> Optional[ClusterError]:
    """Return the error of ours for what Spark says of a failed spool; None if no heap was full."""
    if not _FULL.search(text):
        return None
    asked = next((f"; what asked for more was {key}" for sign, key in _ASKED if re.search(sign, text)), "")
    words = f"a JVM of Spark's ran out of heap (java.lang.OutOfMemoryError) while {described(spark)}{asked}"
    return ClusterError(f"{words}; {KINDS['heap'].remedy}", Cause.here("heap", "spark", words))
