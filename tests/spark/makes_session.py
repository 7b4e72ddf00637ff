"""A module of a user's that makes a Spark session when it is imported, and has a network, too."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

SESSION = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()


def network() -> Any:
    from mxnet import gluon

    return gluon.nn.Dense(10)
