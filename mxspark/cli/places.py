"""What a job names and is not there, looked for where a command line was given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def look(master: Optional[str]) -> Callable[[Mapping[str, Any]], list[str]]:
    """Return what looks for the functions and rows of a job, and for its columns in rows of this machine."""
    # a path without a scheme is one of this machine unless something names a cluster
    names_cluster = any(os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"))
    is_local = not names_cluster and (master is None or master.startswith("local"))
    return partial(_look, partial(_session, master) if is_local else _no_session, is_local)


def _look(session: Callable[[], Optional[SparkSession]], is_local: bool, raw: Mapping[str, Any]) -> list[str]:
    from mxspark.spark.spool import beside

    return beside.problems(raw, session, {}, is_local)


def _no_session() -> None:
    """Return none: what is misspelt is told before YARN has a place for the driver."""


def _session(master: Optional[str]) -> Optional[SparkSession]:
    from mxspark.spark.session import session

    try:
        return session.start("mxspark", master)
    except Exception:  # what is wrong with Spark is told once the rest is mended
        return None
