"""The user's data and code, checked on the driver before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Optional

from pyspark.sql import DataFrame, SparkSession

from mxspark.config import modules
from mxspark.config.data_section import Source
from mxspark.config.job_config import JobConfig
from mxspark.data import columns
from mxspark.data.spool import ColumnSpec, SpoolReady
from mxspark.data.survey import Survey
from mxspark.errors import ClusterError, ConfigError, DataError, InputError
from mxspark.job import metric
from mxspark.job.spec import Component
from mxspark.spark.session import compat
from mxspark.spark.session.session import check_names
from mxspark.spark.spool import reader_options, stage, text_files, unreadable
from mxspark.topology import identity


def read(
    spark: SparkSession, source: Source, path: Optional[str], key: str, arrays: Sequence[ColumnSpec] = ()
) -> DataFrame:
    """Return the DataFrame of ``data.path`` or ``data.validation.path``.

    Parameters
    ----------
    arrays : sequence of ColumnSpec
        Declared columns: from those that are not there, or text, it is seen which option of the reader is missing.

    Raises
    ------
    DataError, ClusterError
        If Spark cannot open it: the user's input, or a service that does not answer.
    """
    if path is None:
        raise ConfigError(f"{key}: is missing; name what Spark shall read, or give train() a DataFrame or an RDD")
    check_names(spark, {key: path})
    try:
        frame = text_files.load(spark, source, path)
        wrong = reader_options.problem(spark, source, path, frame, arrays)
    except compat.SPARK_ERRORS as error:
        of_file = text_files.explain(compat.all_text_of(error))
        if of_file is not None:
            raise DataError(f"{key}={path!r}: {of_file}") from error
        asked = unreadable.Asked(spark, key, path, source.format, tuple(source.options))
        raise unreadable.explain(asked, error) from error
    if wrong is not None:
        raise DataError(f"{key}={path!r}: {wrong}")
    return frame


def opened(spark: SparkSession, job: JobConfig, key: str, unread: list[InputError]) -> Optional[DataFrame]:
    """Return the DataFrame that is named by a key; why the user's job has none goes to `unread`."""
    try:
        path = job.data.path if key == "data.path" else job.data.validation.path
        return read(spark, job.data, path, key, [spec for specs in job.spooled() for spec in specs])
    except InputError as error:
        unread.append(error)
        return None


def warnings(job: JobConfig, data: Any, validation: Any) -> list[str]:
    """Return what a job says of its rows that does not count, and which rows it may lose, of what a caller gives."""
    found = []
    for name, given, key, path in (
        ("df", data, "data.path", job.data.path),
        ("validation_df", validation, "data.validation.path", job.data.validation.path),
    ):
        if path is not None and given is not None:
            found.append(
                f"{key} is {path!r} and {name} is given to train(): {name} is taken, and {key} is not read; "
                "leave one out"
            )
    reads = (data is None, validation is None and job.data.validation.path is not None)
    return found + (list(text_files.warnings(job.data)) if any(reads) else [])


def check(job: JobConfig, data: Any, validation: Any, unread: Sequence[InputError] = ()) -> None:
    """Check types of the data, its columns and the dotted paths of the configuration, all problems at once.

    Parameters
    ----------
    unread : sequence of InputError
        Why there is no data where there should be.

    Raises
    ------
    ConfigError
        Naming every problem.
    InputError
        That of `unread` if it is the only problem.
    """
    features, labels = job.spooled()
    arrays = (*features, *labels)
    problems = [*of_columns("data", arrays, data), *of_columns("validation data", arrays, validation)]
    training = job.training
    problems += modules.problems("network", training.network)
    for kind, component in (
        ("loss", training.loss),
        ("optimizer", training.optimizer),
        ("schedule", training.schedule),
        ("initializer", training.initializer),
        # to look for a module of MXNet's would import MXNet; its classes are known
        *(("metric", one) for one in training.metrics if metric.of_mxnet(one) is None),
    ):
        if isinstance(component, Component) and component.function is not None:
            problems += modules.problems(kind, component.function)
    problems += _without_rows(job, validation)
    if len(unread) == 1 and not problems:
        raise unread[0]
    if unread or problems:
        raise ConfigError.from_problems("the job", [*(error.message for error in unread), *problems])


def of_columns(name: str, arrays: Sequence[ColumnSpec], rows: Any) -> list[str]:
    """Return what is wrong with the columns of some rows, a DataFrame or RDD; None is no rows."""
    if rows is None:
        return []
    # an RDD has no schema; what is declared is checked all the same
    fields = stage.fields(rows) if isinstance(rows, DataFrame) else None
    return [f"{name}: {line}" for line in columns.check(arrays, fields)]


def _without_rows(job: JobConfig, validation: Any) -> list[str]:
    """Return which metrics need validation rows of a job that has none."""
    if validation is not None or job.data.validation.fraction or job.data.validation.path:
        return []
    return [
        f"training.metrics: {name} is worked out from all validation rows at once, and there are none; set "
        "data.validation, or leave it out"
        for name, one in zip(metric.reported_names(job.training.metrics), job.training.metrics)
        if metric.needs_all(one)
    ]


def check_one_host(spools: Sequence[SpoolReady]) -> None:
    """Prove that every spool lies on this machine.

    Raises
    ------
    ClusterError
        If one does not, with the reason.
    """
    here = identity.host_identity()
    other = next((spool for spool in spools if spool.host != here), None)
    if other is not None:
        raise ClusterError(
            f"partition {other.partition} was spooled where the driver cannot reach it: "
            f"{identity.explain_difference(here, other.host)}. Jobs over several hosts are not supported yet: start "
            "Spark with --master local[N], or with all executors on the driver's host and as its user"
        )


def check_same_shapes(columns: Iterable[Sequence[ColumnSpec]], validation: Survey) -> None:
    """Prove that the validation rows have the shapes of the training rows.

    Raises
    ------
    DataError
        Naming the first column where they differ.
    """
    for spec in (spec for specs in columns for spec in specs):
        other = validation.settled([replace(spec, shape=None)])[0]
        if other.shape != spec.shape:
            raise DataError(
                f"column {spec.name}: rows have shape {spec.shape} in the training data and {other.shape} in the "
                "validation data; make them agree"
            )
