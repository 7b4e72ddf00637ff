"""What else is wrong with a job that has mistakes: told with them, where its rows can be looked at all the same."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession

from mxspark.config import places
from mxspark.config.declared import Declared
from mxspark.config.job_config import LookBeside
from mxspark.errors import InputError, MXSparkError
from mxspark.spark.session.session import facts, start
from mxspark.spark.spool import inputs

Session = Callable[[], Optional[SparkSession]]


def look(spark: Optional[SparkSession], data: Any, validation: Any) -> LookBeside:
    """Return what looks at a job of rows that are given, or that a session which is there reads."""
    rows = {"data.path": data, "data.validation.path": validation}
    return lambda raw: problems(raw, lambda: spark or SparkSession.getActiveSession(), rows)


@contextmanager
def own_session(master: Optional[str]) -> Iterator[Session]:
    """Give what returns the session that is there, or one that is started when asked for, and stopped at the end."""
    started: list[SparkSession] = []

    def session() -> Optional[SparkSession]:
        is_new = SparkContext._active_spark_context is None
        try:
            spark = start("mxspark", master)
        except Exception:  # what is wrong with Spark is told once the rest is mended
            return None
        started.extend([spark] * is_new)
        return spark

    try:
        yield session
    finally:
        for spark in started:
            spark.stop()


def problems(
    raw: Mapping[str, Any], session: Session, rows: Mapping[str, Any], default_is_local: bool = False
) -> list[str]:
    """Return what is wrong with functions, paths and columns, as far as it does not hang on the mistakes.

    Rows are read on this machine alone.

    Parameters
    ----------
    raw : mapping
        A job as it was written.
    session : callable
        Gives the session that reads what is not given, or None; asked only where there is something to read.
    rows : dict of str to DataFrame or RDD
        Those that are given, by the key in whose place they are.
    default_is_local : bool
        Whether a path without a scheme is known to be one of this machine.
    """
    found = places.problems(raw, default_is_local)
    declared = Declared.of(raw)
    session = functools.cache(session)  # one that cannot start is not tried twice
    if not declared.arrays:
        return found
    for name, key in (("data", "data.path"), ("validation data", "data.validation.path")):
        given = rows.get(key)
        if given is None and not any(line.startswith(f"{key}: ") for line in found):
            given = _read(declared, key, session, found)
        found += inputs.of_columns(name, declared.arrays, given)
    return found


def _read(declared: Declared, key: str, session: Session, found: list[str]) -> Optional[DataFrame]:
    source, path = declared.source, declared.paths.get(key)
    if source is None or path is None or not places.may_be_here(path, source.format):
        return None
    spark = session()
    # what is misspelt is told before a busy cluster has a place for the job that Spark runs to know the columns
    if spark is None or not facts(spark).one_machine:
        return None
    try:
        return inputs.read(spark, source, path, key, declared.arrays)
    except InputError as error:
        found.append(error.message)
    except MXSparkError:  # a service that does not answer is told once the mistakes are mended
        pass
    return None
