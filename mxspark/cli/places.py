"""What a job names and is not there, looked for where a command line was given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, Optional

from mxspark.config import places


def look(master: Optional[str]) -> Callable[[Mapping[str, Any]], list[str]]:
    """Return what looks for the functions and rows of a job, as far as they need no session to be looked for."""
    # a path without a scheme is one of this machine unless something names a cluster
    names_cluster = any(os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"))
    is_local = not names_cluster and (master is None or master.startswith("local"))
    return partial(places.problems, default_is_local=is_local)
