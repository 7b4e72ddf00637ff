"""What else is wrong with a job that has mistakes: told with them, where its rows can be looked at all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Optional

from pyspark.sql import DataFrame, SparkSession

from mxspark.config import places
from mxspark.config.declared import Declared
from mxspark.errors import InputError, MXSparkError
from mxspark.spark.session.session import facts
from mxspark.spark.spool import inputs

Session = Callable[[], Optional[SparkSession]]


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
    if not declared.arrays:
        return found
    for name, key in (("data", "data.path"), ("validation data", "data.validation.path")):
        given = rows.get(key)
        path = declared.paths.get(key)
        is_told = any(line.startswith(f"{key}: ") for line in found)
        if given is None and path is not None and not is_told and not places.is_elsewhere(path):
            given = _read(declared, key, session, found)
        found += inputs.of_columns(name, declared.arrays, given)
    return found


def _read(declared: Declared, key: str, session: Session, found: list[str]) -> Optional[DataFrame]:
    spark = session()
    # what is misspelt is told before a busy cluster has a place for the job that Spark runs to know the columns
    if spark is None or not facts(spark).one_machine or declared.source is None:
        return None
    try:
        return inputs.read(spark, declared.source, declared.paths[key], key)
    except InputError as error:
        found.append(error.message)
    except MXSparkError:  # a service that does not answer is told once the mistakes are mended
        pass
    return None
