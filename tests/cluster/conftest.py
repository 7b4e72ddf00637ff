"""One HDFS, one YARN and one Spark session for all tests of this tier."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hdfs import Hdfs, Missing
from pyspark.sql import SparkSession
from sessions import the_session
from yarn import NODES_MB, Yarn, make_users

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
    cluster = Yarn(hdfs, NODES_MB)
    try:
        cluster.start()
        make_users(hdfs, "ann", "bob")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def session(hdfs: Hdfs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session of this process; its Hadoop client writes one copy of each block."""
    with the_session(tmp_path_factory.mktemp("spark")) as spark:
        spark._jsc.hadoopConfiguration().set("dfs.replication", "1")
        yield spark


@pytest.fixture
def root(hdfs: Hdfs) -> str:
    """A path on HDFS where nothing is yet."""
    return f"{hdfs.uri}/test{next(_numbers)}"
