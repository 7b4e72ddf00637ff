"""``mxspark train`` in a session that gives an executor back for good once a file is there."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from pyspark.sql import SparkSession

from mxspark.cli.main import main

gates, *arguments = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()


def shrink() -> None:
    """Give back the first executor: Spark kills it and asks for no other."""
    while not (Path(gates) / "shrink").exists():
        time.sleep(0.05)
    spark.sparkContext._jsc.sc().killExecutor("0")


threading.Thread(target=shrink, daemon=True).start()
sys.exit(main(arguments))
