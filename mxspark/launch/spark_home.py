"""Which Spark is run, and which is left alone though the environment names it. The standard library is all there is."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mxspark.errors import InputError

_ARCHIVE = re.compile(r"(py4j-.*|pyspark)\.zip")


def spark_home(environ: Mapping[str, str], pyspark: Path) -> Path:
    """Return the Spark to run: the user's, which must be of the series of our pyspark, or the one inside pyspark.

    Raises
    ------
    InputError
        ``SPARK_HOME`` is no Spark, or another than the environment's Python can talk to.
    """
    if not environ.get("SPARK_HOME"):
        return pyspark
    theirs = Path(environ["SPARK_HOME"])
    have = _release(theirs)
    need = _release(pyspark)
    if not have:
        raise InputError(f"SPARK_HOME={theirs} holds no Spark (no jars/spark-core_*.jar); correct or unset it")
    if have.split(".")[:2] != need.split(".")[:2]:
        raise InputError(
            f"SPARK_HOME={theirs} is Spark {have}, but our pyspark ({pyspark}) is {need}: driver and workers would not "
            f"understand each other; unset SPARK_HOME{_other_way(have)}"
        )
    return theirs


def _other_way(release: str) -> str:
    return f", or set MXSPARK_PYSPARK={release}" if re.match(r"3\.5\.|4\.", release) else ""


def _release(home: Path) -> str:
    """Return the release of a Spark by the name of its core jar, or an empty string."""
    for jar in home.glob("jars/spark-core_*.jar"):
        found = re.search(r"spark-core_[\d.]+-(\d+\.\d+\.\d+)", jar.name)
        if found:
            return found[1]
    return ""


def our_pyspark() -> Path:
    """Return the pyspark of this Python."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{sys.prefix} has no pyspark; install one, or unset MXSPARK_ENVIRONMENT")
    return Path(spec.submodule_search_locations[0])


def without_spark(python_path: str) -> str:
    """Return a ``PYTHONPATH`` without the parts of a Spark, which would come before the environment's pyspark.

    Shells that were set up for another Spark have ``$SPARK_HOME/python`` and its py4j in it. spark-submit adds those of
    the Spark that it belongs to by itself.
    """
    kept = []
    for entry in python_path.split(os.pathsep):
        if (Path(entry) / "pyspark/__init__.py").is_file() or _ARCHIVE.fullmatch(Path(entry).name):
            print(f"mxspark: {entry} in PYTHONPATH is part of a Spark: not used", file=sys.stderr)
        else:
            kept.append(entry)
    return os.pathsep.join(kept)
