"""What is given to ``mxspark.train`` from Python, checked before there is a session: that costs a JVM."""

from __future__ import annotations

from typing import Any, Optional

from pyspark import RDD
from pyspark.sql import DataFrame, SparkSession

from mxspark.errors import InputError
from mxspark.job import signatures
from mxspark.job.signatures import SIGNATURES, Takes
from mxspark.spark.session.slots import is_stopped

_NEW_SESSION = "SparkSession.builder.getOrCreate()"
#: What to make of what is none of Spark's, by the package and the name of its class.
_OTHERS = {
    ("pandas", "DataFrame"): "spark.createDataFrame({name})",
    ("pyspark.pandas", "DataFrame"): "{name}.to_spark()",
    ("polars", "DataFrame"): "spark.createDataFrame({name}.to_pandas())",
    ("pyarrow", "Table"): "spark.createDataFrame({name}.to_pandas())",
    ("numpy", "ndarray"): "spark.sparkContext.parallelize({name}), each row its features, then its label",
    ("builtins", "list"): "spark.createDataFrame({name}, [names of the columns])",
    ("builtins", "str"): "spark.read.parquet({name}), or leave it out and set data.path",
    ("pyspark.sql", "GroupedData"): "a DataFrame of it, {name}.agg(...)",
}


def check(df: Any, validation_df: Any, on_event: Any, spark: Optional[SparkSession] = None) -> None:
    """Refuse what is no data, what belongs to a session that was stopped, and what cannot be called with an event.

    Raises
    ------
    InputError
        With what to give.
    """
    for name, rows in (("df", df), ("validation_df", validation_df)):
        if rows is not None:
            _check_rows(name, rows)
    if isinstance(spark, SparkSession) and is_stopped(spark.sparkContext):
        raise InputError(f"spark is a session that was stopped; make a new one, {_NEW_SESSION}, and give that")
    if on_event is None:
        return
    if not callable(on_event):
        raise InputError(f"on_event is a {type(on_event).__name__}; give a function {SIGNATURES['on_event']}")
    problem = signatures.problem("on_event", Takes.of(getattr(on_event, "__qualname__", "on_event"), on_event))
    if problem is not None:
        raise InputError(f"on_event: {problem}")


def _check_rows(name: str, rows: Any) -> None:
    kind = type(rows)
    if kind.__module__.startswith("pyspark.sql.connect"):
        raise InputError(
            f"{name} is a {kind.__name__} of Spark Connect, which has no driver JVM and no RDDs; mxspark needs a "
            "classic session: start it with SparkSession.builder.master(...) and without remote(...) or SPARK_REMOTE"
        )
    if not isinstance(rows, (DataFrame, RDD)):
        instead = _instead(name, kind)
        raise InputError(
            f"{name} is a {kind.__name__} ({kind.__module__}), not one of Spark's; give "
            + (instead or "a DataFrame or an RDD, or leave it out and set data.path")
        )
    if isinstance(rows, DataFrame) and rows.isStreaming:
        raise InputError(
            f"{name} is a stream, which has no end, and an epoch is a pass over all rows; write it to a table, "
            f"{name}.writeStream.toTable(...), and give spark.read.table(...)"
        )
    if is_stopped(rows.sparkSession.sparkContext if isinstance(rows, DataFrame) else rows.context):
        raise InputError(
            f"{name} is {'a DataFrame' if isinstance(rows, DataFrame) else 'an RDD'} of a session that was stopped, "
            f"which can read no row any more; make a new session, {_NEW_SESSION}, and read the rows again in it"
        )


def _instead(name: str, kind: type) -> Optional[str]:
    for (place, class_name), text in _OTHERS.items():
        if class_name == kind.__name__ and f"{kind.__module__}.".startswith(f"{place}."):
            return text.format(name=name)
    return None
