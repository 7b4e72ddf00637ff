"""One HDFS, one YARN and one Spark session for all tests of this tier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hdfs import Hdfs, Missing
from pyspark.sql import SparkSession
from yarn import Yarn, make_users

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def hdfs() -> Iterator[Hdfs]:
    """A running HDFS; without Java, or without Maven the first time, the test is skipped."""
    try:
        cluster = Hdfs()
    except Missing as missing:
        pytest.skip(str(missing))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def yarn(hdfs: Hdfs) -> Iterator[Yarn]:
    """A running YARN beside the HDFS; ``ann`` and ``bob`` have homes there."""
    cluster = Yarn(hdfs)
    try:
        cluster.start()
        make_users(hdfs, "ann", "bob")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def session(hdfs: Hdfs) -> Iterator[SparkSession]:
    """The session that is there, else one of our own; its Hadoop client writes one copy of each block."""
    found = SparkSession.getActiveSession()
    spark = found or SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    spark._jsc.hadoopConfiguration().set("dfs.replication", "1")
    yield spark
    if found is None:
        spark.stop()


@pytest.fixture
def root(hdfs: Hdfs) -> str:
    """A path on HDFS where nothing is yet."""
    return f"{hdfs.uri}/test{next(_numbers)}"
