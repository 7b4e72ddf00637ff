"""What a job names and is not there, looked for where a command line was given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, Optional

from mxspark.config import places

Look = Callable[[Mapping[str, Any]], list[str]]


def look(master: Optional[str]) -> Look:
    """Return what looks for the functions and rows of a job, as far as they need no session to be looked for."""
    return partial(places.problems, default_is_local=_is_local(master))


def look_closely(master: Optional[str]) -> Look:
    """Return what looks for the columns too, in rows of this machine: a session is started where there is a mistake."""
    return partial(_look_closely, master, _is_local(master))


def _is_local(master: Optional[str]) -> bool:
    # a path without a scheme is one of this machine unless something names a cluster
    names_cluster = any(os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"))
    return not names_cluster and (master is None or master.startswith("local"))


def _look_closely(master: Optional[str], is_local: bool, raw: Mapping[str, Any]) -> list[str]:
    from mxspark.spark.spool import beside

    # elsewhere what is misspelt is told before YARN has a place for a driver
    with beside.own_session(master) if is_local else contextlib.nullcontext(lambda: None) as session:
        return beside.problems(raw, session, {}, is_local)
