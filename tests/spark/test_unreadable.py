"""What Spark cannot open is told by the job's keys, with what to add: the user's input, or a service that is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from spark.jobs import digits

import mxspark
from mxspark.config.job_config import JobConfig
from mxspark.data.spool import ColumnSpec
from mxspark.errors import ClusterError, ConfigError, DataError
from mxspark.spark.spool import inputs, stage


def read(spark: SparkSession, path: str, kind: str = "parquet", **options: str) -> Any:
    job = JobConfig.from_dict(
        {
            "data": {"path": path, "format": kind, "options": options, "features": ["x"], "label": "y"},
            "training": {"network": "a:b", "loss": "l2"},
        }
    )
    return inputs.read(spark, job.data, job.data.path, "data.path")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "s3a://bucket/x",
            r"S3AFileSystem not found; check .*: s3a:// needs --packages org.apache.hadoop:hadoop-aws:\d",
        ),
        (
            "s3://bucket/x",
            r"No FileSystem for scheme \"s3\"; check the path: write s3a:// for s3://, and start Spark with",
        ),
        (
            "gs://bucket/x",
            r"gs:// needs --packages com.google.cloud.bigdataoss:gcs-connector:VERSION .*, a VERSION for Spark",
        ),
        ("abfss://c@a.dfs.core.windows.net/x", r"abfss:// needs --packages org.apache.hadoop:hadoop-azure:\d"),
        ("dbfs:/x", "check the path, or start Spark with the jar and the settings of the filesystem of dbfs:"),
        ("hdfs:///x", r"Incomplete HDFS URI.*; check the path: name the NameNode, hdfs://host:8020/"),
        ("file://host/x", r"Wrong FS.*; check the path: a local one has three slashes, file:///"),
        ("/tmp/{a} [b", r"Illegal file pattern.*; check the path: .* write a backslash before one"),
    ],
)
def test_paths_that_spark_cannot_open_are_the_users_input(spark: SparkSession, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(spark, path)
    assert str(caught.value).startswith(f"data.path={path!r} cannot be read as 'parquet': ")
    assert "java.lang" not in str(caught.value) and "Exception" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("delta", r"this format needs --packages io.delta:delta-spark_2.1\d:VERSION .*, a VERSION for Spark \d"),
        ("avro", r"this format needs --packages org.apache.spark:spark-avro_2.1\d:\d.\d.\d \(spark.jars.packages\)$"),
        ("parquett", r"check data.format: did you mean 'parquet'\? without a package Spark reads csv, "),
        (
            "npz",
            "check data.format: without a package Spark reads csv, jdbc, json, orc, parquet, text, binaryFile; others",
        ),
        ("orc", "check whether data.format is that of the files"),
    ],
)
def test_formats_without_their_package(spark: SparkSession, tmp_path: Path, kind: str, message: str) -> None:
    spark.range(3).write.parquet(str(tmp_path / "rows"))
    with pytest.raises(DataError, match=message):
        read(spark, str(tmp_path / "rows"), kind)


def test_columns_of_a_file_that_differ_in_case_alone_are_one_to_spark(spark: SparkSession, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0], "X": [2.0]}), tmp_path / "rows.parquet")
    with pytest.raises(
        DataError, match=r"check the names of its columns: .* unless it is started with spark.sql.caseS"
    ):
        read(spark, str(tmp_path / "rows.parquet"))


def test_options_of_a_reader_are_named_and_their_values_are_not(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).write.csv(str(tmp_path / "rows"))
    for options in ({"header": "maybe"}, {"quote": "ab"}, {"encoding": "utf9"}, {"sep": ""}):
        with pytest.raises(DataError, match=rf"check .* data.options \({next(iter(options))}\)$"):
            read(spark, str(tmp_path / "rows"), "csv", **options)
    with pytest.raises(DataError, match=r"Option 'url' is required; check .* data.options, of which none is given"):
        read(spark, "x", "jdbc")
    with pytest.raises(
        DataError, match=r"No suitable driver; check .*: the driver's jar, --jars, and data.options.driver"
    ) as it:
        read(spark, "x", "jdbc", url="jdbc:nothing://host/x", dbtable="t", password="secret")
    assert "secret" not in str(it.value)


def test_a_colon_in_a_name_is_named(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "2024-01-01T00:00:00").mkdir()
    with pytest.raises(DataError, match="2024-01-01T00:00:00; check the names of files there: Hadoop takes no colon"):
        read(spark, str(tmp_path / "*:*"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "hdfs://no-such-namenode.invalid/x",
            "UnknownHostException: no-such-namenode.invalid; see whether that name is right",
        ),
        ("ftp://127.0.0.1:1/x", "see whether that service is up and listens there, then start again"),
    ],
)
def test_a_service_that_is_not_there_is_the_clusters(spark: SparkSession, path: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        read(spark, path)


@pytest.mark.parametrize("key", ["path", "format"])
def test_nothing_is_no_path_and_no_format(spark: SparkSession, key: str) -> None:
    given = {"path": "x", "kind": "parquet", **{{"format": "kind"}.get(key, key): ""}}
    with pytest.raises(ConfigError, match=f"data.{key}: string should have at least 1 character, found ''"):
        read(spark, **given)


def test_a_run_and_its_validation_rows_end_so_too(spark: SparkSession, tmp_path: Path) -> None:
    job = digits(tmp_path / "job", data={"validation": {"path": "s3a://bucket/x", "fraction": 0.0}})
    with pytest.raises(mxspark.DataError, match=r"data.validation.path='s3a://bucket/x' cannot be read as 'parquet'"):
        mxspark.train(None, job)
    assert not (tmp_path / "job").exists()


def test_a_service_that_goes_away_while_rows_are_read_is_the_clusters(spark: SparkSession) -> None:
    asks = "java_method('java.net.InetAddress', 'getByName', concat('no-such-host.invalid', id - id))"
    rows = spark.range(3).selectExpr(f"cast(length({asks}) as float) x", "cast(id as float) y")
    columns = [ColumnSpec(name, (name,), (), "float32") for name in "xy"]
    with pytest.raises(
        ClusterError, match=r"(?s)could not be read while it was spooled: .*; see whether that service is up"
    ):
        stage.spool(rows, columns[:1], columns[1:], "gone", "training")
