"""Every difference between pyspark 3.5 and 4.x, and the few places where its inside is touched."""

from __future__ import annotations

import re
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import DataFrame, SparkSession

SPARK_ERRORS = (Py4JJavaError, CapturedException)
"""What a failed Spark job raises. 3.5 wraps less of it in exceptions of its own than 4.x."""

_CANCELLED = re.compile(
    r"\[SPARK_JOB_CANCELLED\]|Job \d+ cancelled|Job cancelled because|SparkContext (was|is) (shut down|stopped)"
)
_JAVA_FRAME = re.compile(r"^\s+(?:at [\w.$/@<>]+\(.*|\.\.\. \d+ more)$", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):"


def message_of(error: BaseException) -> str:
    """Return what a Spark error says, without the JVM's stack and the frames above it."""
    java = getattr(error, "java_exception", None)
    text = str(java) if java is not None else str(error)
    text = text.split("Driver stacktrace:")[0]
    lines = [line for line in text.splitlines() if not _JAVA_FRAME.match(line)]
    return "\n".join(lines).strip()


def all_text_of(error: BaseException) -> str:
    """Return everything a Spark error says, causes and stacks included."""
    return str(error)


def python_traceback_of(error: BaseException) -> str:
    """Return the last Python traceback inside a Spark error, "" if no Python code raised."""
    blocks = [block for block in _JAVA_FRAME.split(str(error).split("Driver stacktrace:")[0]) if _TRACEBACK in block]
    if not blocks:
        return ""
    trace = blocks[-1][blocks[-1].index(_TRACEBACK) :]
    return re.sub(r"\s*SQLSTATE: \w+\s*$", "", trace).strip()


def is_cancelled(error: BaseException) -> bool:
    """Whether someone cancelled the job or stopped the session, as opposed to the job failing."""
    return _CANCELLED.search(message_of(error)) is not None


def partitions_of(frame: DataFrame) -> int:
    """Return how many partitions a DataFrame that has just been collected had; starts no job then.

    Adaptive execution chooses the number while the query runs, so it cannot be asked for before.
    """
    query: Any = frame._jdf
    return int(query.queryExecution().toRdd().getNumPartitions())


def files_of(frame: DataFrame) -> int:
    """Return how many files a DataFrame is read from; counted in the JVM, for their names may be many."""
    read: Any = frame._jdf
    return len(read.inputFiles())


def jvm_process(spark: SparkSession) -> Any:
    """Return the JVM of a session, a Popen, where this process has started it; None where spark-submit did."""
    context: Any = spark.sparkContext
    return getattr(context._gateway, "proc", None)
