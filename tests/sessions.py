"""The one Spark session of a process that runs tests; a second context in one process is not to be had."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import SparkSession

TESTS = Path(__file__).resolve().parent


@contextmanager
def the_session(folder: Path) -> Iterator[SparkSession]:
    """Give the session that there is, or a quiet ``local[4]`` that listens on the loopback only.

    Tests of several tiers may run in one process: whichever comes first makes the session that suits all.

    Parameters
    ----------
    folder : Path
        For the files of a new one.
    """
    _forget_a_dead_jvm()
    found = SparkSession.getActiveSession()
    if found is not None:
        yield found
        return
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "4",
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={folder} -Dderby.system.home={folder}",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS)]))
        builder = SparkSession.builder.master("local[4]").appName("mxspark tests")
        for key, value in settings.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        try:
            session.stop()
        except (Py4JError, OSError) as error:  # its JVM has ended, or is about to: there is nothing left to stop
            print(f"the session could not be stopped: {error!r}", file=sys.__stderr__)
            _forget_a_dead_jvm()


def _forget_a_dead_jvm() -> None:
    """Let pyspark start another JVM where the one of this process has ended: it would ask that one for ever."""
    process = getattr(SparkContext._gateway, "proc", None)
    if process is None or process.poll() is None:
        return
    print(f"the JVM of this process has ended, exit code {process.returncode}", file=sys.__stderr__)
    with contextlib.suppress(OSError):  # what it has not read goes nowhere
        process.stdin.close()
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = None
