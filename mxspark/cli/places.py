"""What a job names and is not there, looked for where a command line was given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, Optional


def look(master: Optional[str]) -> Callable[[Mapping[str, Any]], list[str]]:
    """Return what looks for the functions and rows of a job, and for its columns in rows of this machine."""
    # a path without a scheme is one of this machine unless something names a cluster
    names_cluster = any(os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"))
    is_local = not names_cluster and (master is None or master.startswith("local"))
    return partial(_look, master, is_local)


def _look(master: Optional[str], is_local: bool, raw: Mapping[str, Any]) -> list[str]:
    from mxspark.spark.spool import beside

    # elsewhere what is misspelt is told before YARN has a place for a driver
    with beside.own_session(master) if is_local else contextlib.nullcontext(lambda: None) as session:
        return beside.problems(raw, session, {}, is_local)
