"""Where Spark keeps files on local disks: asked by the driver, by its tasks, and by the janitor, who has no Spark."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
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


def of_container() -> Optional[str]:
    """Return the folder of the container that this process, a driver in a cluster, is in; None outside of one.

    YARN removes it with all that is in it, however the container ends: it kills the driver a quarter of a second after
    its JVM, which may be while it puts its things in order.
    """
    folder = Path(os.environ.get("PWD", ""))
    is_container = folder.name == os.environ.get("CONTAINER_ID", " ") and os.access(folder, os.W_OK)
    return str(folder) if is_container else None
