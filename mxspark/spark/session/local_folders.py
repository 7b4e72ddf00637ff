"""Where Spark keeps files on local disks: asked by the driver, by its tasks, and by the janitor, who has no Spark."""

from __future__ import annotations

import os
import tempfile
from typing import Optional


def of_driver(configured: Optional[str] = None) -> tuple[str, ...]:
    """Return the folders in which Spark makes those of its applications, in Spark's own order of precedence.

    Parameters
    ----------
    configured : str, optional
        The session's ``spark.local.dir``.
    """
    return _folders(os.environ.get("SPARK_LOCAL_DIRS"), configured)


def of_task() -> tuple[str, ...]:
    """Return the folders that Spark has made for the executor of this task; they go when it goes.

    Spark hands them on to its Python processes, on YARN under the name that YARN has for them.
    """
    return _folders(os.environ.get("SPARK_LOCAL_DIRS"), os.environ.get("LOCAL_DIRS"))


def _folders(*lists: Optional[str]) -> tuple[str, ...]:
    for text in lists:
        found = tuple(folder for folder in (text or "").split(",") if folder)
        if found:
            return found
    return (tempfile.gettempdir(),)
