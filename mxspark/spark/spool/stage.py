"""The spool stage, seen from the driver: launch it, take what came back, clean up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Union

from pyspark import RDD
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from mxspark.data.columns import quoted, sources
from mxspark.data.spool import ColumnSpec, SpoolReady, remove_run_folder, run_folder, run_folder_name
from mxspark.errors import InternalError
from mxspark.protocol import codec
from mxspark.spark.session import compat
from mxspark.spark.spool import batches, unreadable
from mxspark.spark.spool.task import ANSWER, SpoolTask
from mxspark.topology.identity import host_identity


def describe(kind: DataType) -> str:
    """Return a column type as `columns.check` wants it."""
    return "vector" if type(kind).__name__ == "VectorUDT" else kind.simpleString()


def fields(frame: DataFrame) -> dict[str, str]:
    """Return the columns of a DataFrame and their types for `columns.check`; a name found twice is ambiguous.

    To Spark ``a`` and ``A`` are one name, unless the session says otherwise.
    """
    is_exact = str(frame.sparkSession.conf.get("spark.sql.caseSensitive", "false")).lower() == "true"
    names = {field.name: field.name if is_exact else field.name.lower() for field in frame.schema.fields}
    counts = Counter(names[field.name] for field in frame.schema.fields)
    return {
        field.name: describe(field.dataType) if count == 1 else f"ambiguous ({count} columns)"
        for field in frame.schema.fields
        for count in [counts[names[field.name]]]
    }


def spool(
    data: Union[DataFrame, RDD[Any]],
    features: Sequence[ColumnSpec],
    labels: Sequence[ColumnSpec],
    run_id: str,
    folder_name: str,
    *,
    tells_all: bool = False,
) -> list[SpoolReady]:
    """Write every partition to local disk where it is read, without moving rows.

    Parameters
    ----------
    data : DataFrame or RDD
        An RDD's elements are tuples or lists (features, then labels, in declared order), Rows, namedtuples or dicts
        (by name), LabeledPoints, or 1-D numpy arrays (features flattened in declared order, then labels).
    features, labels : sequence of ColumnSpec
        Arrays to write; those without a shape take it from the first row. A weight is the last of the labels.
    run_id, folder_name : str
        The files lie in ``<local dir>/mxspark-<run_id>/<folder_name>``.
    tells_all : bool
        Whether answers hold what is known of the rows, for `Survey.of` on another host than that of the files.

    Returns
    -------
    list of SpoolReady
        One a partition, in order of partition id, also of those of which `row_problems` says something. What they
        hold is told by `Survey.of`.

    Raises
    ------
    DataError
        If reading the data raised: the user's function, a corrupt file.
    ClusterError
        If a local disk is full, an executor was lost, or executors lack a package.
    """
    run_folder_name(run_id)
    task = SpoolTask(tuple(features), tuple(labels), run_id, folder_name, tells_all)
    try:
        answers, partitions = _run_frame(data, task) if isinstance(data, DataFrame) else _run_rdd(data, task)
    except compat.SPARK_ERRORS as error:
        if compat.is_cancelled(error):
            raise
        raise unreadable.of_stage(_session(data), error) from error
    ready = sorted((codec.decode(SpoolReady, json.loads(line)) for line in answers), key=lambda part: part.partition)
    if [part.partition for part in ready] != list(range(partitions)):
        raise InternalError(
            f"{partitions} partitions were spooled, but the answers are from {[part.partition for part in ready]}"
        )
    return ready


def remove(ready: Sequence[SpoolReady], run_id: str) -> None:
    """Remove this host's spools of a run, those of lost and failed tasks too.

    Raises
    ------
    OSError
        If something cannot be removed; the rest is.
    """
    here = host_identity()
    paths = {run_folder(path, run_id): path for path in {part.path for part in ready if part.host == here}}
    left: list[OSError] = []
    for path in paths.values():
        try:
            remove_run_folder(path, run_id)
        except OSError as error:
            left.append(error)
    if left:
        raise left[0]


def _run_frame(frame: DataFrame, task: SpoolTask) -> tuple[list[str], int]:
    kinds = fields(frame)
    specs = (*task.features, *task.labels)
    columns = [
        _column(name, kinds.get(name, ""), [spec for spec in specs if name in spec.columns]).alias(f"c{index}")
        for index, name in enumerate(sources(specs))
    ]
    answers = frame.select(*columns).mapInArrow(task.arrow, ANSWER)
    with batches.at_most(frame.sparkSession, batches.rows_of(specs, kinds)):
        return [row[0] for row in answers.collect()], compat.partitions_of(answers)


def named(name: str) -> Column:
    """Return the column of exactly this name, in which a dot is no field."""
    return F.col(quoted(name))


def _session(data: Union[DataFrame, RDD[Any]]) -> SparkSession:
    return data.sparkSession if isinstance(data, DataFrame) else SparkSession(data.context)


def _run_rdd(rdd: RDD[Any], task: SpoolTask) -> tuple[list[str], int]:
    return rdd.mapPartitions(task.elements).collect(), rdd.getNumPartitions()


def _column(name: str, kind: str, specs: Sequence[ColumnSpec]) -> Column:
    column = named(name)
    if kind != "vector":
        return column
    from pyspark.ml.functions import vector_to_array

    # as doubles, which they are: what becomes of them in the declared dtype is seen where it is converted (an assembled
    # id beyond 2^24). What is scaled is no id, and is scaled in the type of the array, as jobs always did: their rows
    # have checksums in the job's record. A null vector would end the job without naming the row.
    is_measured = all(spec.scale_of_spool != 1.0 and spec.dtype in ("float16", "float32") for spec in specs)
    return F.when(column.isNotNull(), vector_to_array(column, "float32" if is_measured else "float64"))
