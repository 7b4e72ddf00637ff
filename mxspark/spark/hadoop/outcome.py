"""How a driver in the cluster tells the launcher how it ended: a small file on the cluster's filesystem."""

from __future__ import annotations

import json
from typing import Any, Optional

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from mxspark.errors import ClusterError


def write(path: str, outcome: dict[str, Any]) -> None:
    """Leave the outcome for the launcher, in the place of one of an earlier attempt of the application."""
    fs, target = _place(path)
    try:
        fs.mkdirs(target.getParent())
        stream = fs.create(target, True)
        try:
            stream.write(bytearray(json.dumps(outcome, allow_nan=False).encode()))
        finally:
            stream.close()
    except Py4JJavaError as error:
        raise ClusterError(
            f"the outcome cannot be left at {path}: {error.java_exception.toString()}; see the log of the driver for "
            "how the job ended"
        ) from error


def read(path: str) -> Optional[dict[str, Any]]:
    """Return what an earlier attempt of the application left, None if nothing."""
    fs, target = _place(path)
    if not fs.exists(target):
        return None
    stream = fs.open(target)
    try:
        jvm: Any = SparkContext._jvm
        return dict(json.loads(bytes(jvm.org.apache.commons.io.IOUtils.toByteArray(stream))))
    finally:
        stream.close()


def _place(path: str) -> tuple[Any, Any]:
    SparkContext._ensure_initialized()  # there may be no session yet, or no more
    jvm: Any = SparkContext._jvm
    target = jvm.org.apache.hadoop.fs.Path(path)
    return target.getFileSystem(jvm.org.apache.hadoop.conf.Configuration()), target
