"""Hadoop's FileContext as storage, over its local filesystem (which checks, then creates: no races here)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from storage_contract import Place, StorageContract

from mxspark.errors import ClusterError, JobDirError
from mxspark.spark.hadoop.storage import HadoopStorage


@pytest.fixture
def session(spark: SparkSession) -> SparkSession:
    """The session of this tier; HDFS has another."""
    return spark


class TestHadoopLocal(StorageContract):
    @pytest.fixture
    def place(self, session: SparkSession, tmp_path: Path) -> Place:
        (tmp_path / "root").mkdir()
        path = f"file://{tmp_path}/root"
        return HadoopStorage(session), path


def test_plain_path_is_of_the_default_filesystem(session: SparkSession) -> None:
    storage = HadoopStorage(session)
    assert storage.qualify("/runs/digits") == "file:///runs/digits"
    assert storage.qualify("runs/digits").startswith("file:///")


def test_unknown_scheme_is_named(session: SparkSession) -> None:
    with pytest.raises(JobDirError, match=r"No FileSystem for scheme 's3x' \(s3x://bucket/jobs\); set job\.dir"):
        HadoopStorage(session).qualify("s3x://bucket/jobs")


def test_unknown_host_is_one_clear_line(session: SparkSession) -> None:
    with pytest.raises(ClusterError, match=r"could not look at hdfs://nosuchhost\.invalid/.*UnknownHost") as caught:
        HadoopStorage(session).stat("hdfs://nosuchhost.invalid/jobs")
    assert "\n" not in str(caught.value)
