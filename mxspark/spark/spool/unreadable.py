"""Why Spark cannot read what a job names, in words of the job: the user's input, or a service that does not answer.

One row of `_ROWS` a reason: what Spark and Hadoop say of it, whose it is to mend, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession

from mxspark.errors import ClusterError, DataError, MXSparkError
from mxspark.errors.spelling import closest
from mxspark.spark.session import compat
from mxspark.spark.spool import batches, text_files

_OURS = re.compile(r"^mxspark\.errors\.ClusterError: (.*)$", re.MULTILINE)
_MISSING = re.compile(r"ModuleNotFoundError: No module named '(mxspark|numpy|pyarrow)\b[^']*'")
_LOST = re.compile(r"ExecutorLostFailure|Python worker exited unexpectedly|Python worker failed to connect back")
_BUILT_IN = ("csv", "jdbc", "json", "orc", "parquet", "text", "binaryFile")

#: Where formats come from that Spark does not bring; {scala} and {spark} are those of the session.
_PACKAGES = {
    "avro": "org.apache.spark:spark-avro_{scala}:{spark}",
    "kafka": "org.apache.spark:spark-sql-kafka-0-10_{scala}:{spark}",
    "delta": "io.delta:delta-spark_{scala}:VERSION",
    "iceberg": "org.apache.iceberg:iceberg-spark-runtime-{series}_{scala}:VERSION",
    "hudi": "org.apache.hudi:hudi-spark{series}-bundle_{scala}:VERSION",
    "bigquery": "com.google.cloud.spark:spark-bigquery-with-dependencies_{scala}:VERSION",
    "mongodb": "org.mongodb.spark:mongo-spark-connector_{scala}:VERSION",
    "snowflake": "net.snowflake:spark-snowflake_{scala}:VERSION",
    "tfrecord": "com.linkedin.sparktfrecord:spark-tfrecord_{scala}:VERSION",
}

#: Where filesystems come from that Hadoop's client does not bring.
_FILESYSTEMS = {
    "s3a": "org.apache.hadoop:hadoop-aws:{hadoop}",
    "abfs": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "abfss": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "wasb": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "wasbs": "org.apache.hadoop:hadoop-azure:{hadoop}",
    "gs": "com.google.cloud.bigdataoss:gcs-connector:VERSION",
    "oss": "org.apache.hadoop:hadoop-aliyun:{hadoop}",
}


@dataclass(frozen=True)
class Asked:
    """What a job has asked Spark to read.

    Attributes
    ----------
    key : str
        Where the job says so.
    options : tuple of str
        The names of the reader's options; their values may be secret.
    """

    spark: SparkSession = field(repr=False)
    key: str
    path: str
    format: str
    options: tuple[str, ...] = ()

    @property
    def scheme(self) -> str:
        """The filesystem that the path names."""
        return self.path.partition(":")[0]

    @property
    def versions(self) -> Mapping[str, str]:
        """What packages have to fit to."""
        jvm: Any = self.spark._jvm
        spark = str(self.spark.version)
        scala = ".".join(str(jvm.scala.util.Properties.versionNumberString()).split(".")[:2])
        hadoop = str(jvm.org.apache.hadoop.util.VersionInfo.getVersion())
        return {"spark": spark, "series": ".".join(spark.split(".")[:2]), "scala": scala, "hadoop": hadoop}


def explain(asked: Asked, error: BaseException) -> MXSparkError:
    """Return the error of ours for what Spark has raised: DataError, or ClusterError where a service is not there."""
    text = compat.all_text_of(error)
    row = next((row for row in _ROWS if re.search(row.pattern, text)), _OTHER)
    said = _SAID_BY.sub("", compat.message_of(error).splitlines()[0].strip()).rstrip(".")
    words = f"{asked.key}={asked.path!r} cannot be read as {asked.format!r}: {said}"
    if row.is_of_cluster:
        return ClusterError(f"{words}; see {row.advice(asked)}")
    return DataError(f"{words}; check {row.advice(asked)}")


def of_stage(spark: SparkSession, error: BaseException) -> MXSparkError:
    """Return a failed spool stage as our error: the user's data or code, unless the machines are at fault."""
    text, said = compat.all_text_of(error), compat.message_of(error)
    ours = _OURS.search(text)
    if ours:
        return ClusterError(ours.group(1))
    missing = _MISSING.search(text)
    if missing:
        return ClusterError(
            f"the executors' Python has no module {missing.group(1)!r}; give them the driver's environment: set "
            "PYSPARK_PYTHON to an interpreter that has mxspark (under spark-submit spark.pyspark.python, and of "
            "DataFrames spark.sql.execution.pyspark.python, win over it), or ship one with --archives"
        )
    full = batches.out_of_heap(spark, text)
    if full is not None:
        return full
    if _LOST.search(text):
        return ClusterError(
            f"an executor or its Python was lost while the data was spooled: {said}\n"
            "look into the executor's log; too little memory is the usual cause (spark.executor.memoryOverhead)"
        )
    trace = compat.python_traceback_of(error)
    if not trace and is_of_cluster(error):
        return ClusterError(
            f"the data could not be read while it was spooled: {said}; see whether that service is up, then start again"
        )
    start = "the data could not be read while it was spooled"
    of_file = text_files.explain(text)
    if of_file is not None:
        return DataError(f"{start}: {of_file}")
    if trace:
        return DataError(
            f"{start}: the code that makes the data raised:\n{trace.rstrip()}\nmend it, or the rows it is given"
        )
    return DataError(f"{start}: {said}; look at the file or the rows that are named")


def is_of_cluster(error: BaseException) -> bool:
    """Tell whether rows could not be read because a service does not answer."""
    text = compat.all_text_of(error)
    return any(re.search(row.pattern, text) for row in _ROWS if row.is_of_cluster)


# the names of exceptions that wrap one another, but for one that says more than the rest
_SAID_BY = re.compile(r"^(?:(?!java\.net\.)[\w.$]+(?:Exception|Error): )+")


def _package_of_filesystem(asked: Asked) -> str:
    name = _FILESYSTEMS.get(asked.scheme)
    if asked.scheme in ("s3", "s3n"):
        return (
            f"the path: write s3a:// for {asked.scheme}://, and start Spark with {_start(asked, _FILESYSTEMS['s3a'])}"
        )
    if name is None:
        return f"the path, or start Spark with the jar and the settings of the filesystem of {asked.scheme}:"
    return f"with what Spark was started: {asked.scheme}:// needs {_start(asked, name)}"


def _package_of_format(asked: Asked) -> str:
    name = asked.format.lower()
    package = next((_PACKAGES[known] for known in _PACKAGES if known in name), None)
    if package is not None:
        return f"with what Spark was started: this format needs {_start(asked, package)}"
    close = closest(asked.format, _BUILT_IN)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"data.format: {meant}without a package Spark reads {', '.join(_BUILT_IN)}; others need --packages or --jars"


def _start(asked: Asked, package: str) -> str:
    name = package.format(**asked.versions)
    of = f", a VERSION for Spark {asked.versions['spark']}" if "VERSION" in name else ""
    return f"--packages {name} (spark.jars.packages){of}"


def _everything(asked: Asked) -> str:
    given = f" ({', '.join(asked.options)})" if asked.options else ", of which none is given"
    return f"data.path, data.format and the options of the reader, data.options{given}"


@dataclass(frozen=True)
class _Row:
    """A reason: what is said of it, what to check, and whether it is a service that does not answer."""

    pattern: str
    check: Any
    is_of_cluster: bool = False

    def advice(self, asked: Asked) -> str:
        return self.check if isinstance(self.check, str) else str(self.check(asked))


_ROWS = (
    _Row(r"Class \S*FileSystem\S* not found|No FileSystem for scheme", _package_of_filesystem),
    _Row(r"DATA_SOURCE_NOT_FOUND|Failed to find (the )?data source|DATA_SOURCE_NOT_ENABLED", _package_of_format),
    _Row(
        r"UnknownHostException",
        "whether that name is right; that of a cluster with two NameNodes is known from hdfs-site.xml, HADOOP_CONF_DIR",
        is_of_cluster=True,
    ),
    _Row(
        r"ConnectException|NoRouteToHostException|SocketTimeoutException|ConnectTimeoutException|StandbyException"
        r"|SafeModeException|Connection refused|FAILED_JDBC\.CONNECTION",
        "whether that service is up and listens there, then start again",
        is_of_cluster=True,
    ),
    _Row(r"Incomplete HDFS URI", "the path: name the NameNode, hdfs://host:8020/..., or set HADOOP_CONF_DIR"),
    _Row(
        r"Relative path in absolute URI",
        "the names of files there: Hadoop takes no colon in them; rename those, or name folders without * ? [ {",
    ),
    _Row(r"Illegal file pattern|error parsing regexp", "the path: * ? [ { are a pattern; write a backslash before one"),
    _Row(r"AccessControlException|Permission denied|AccessDenied", "who may read it, and as whom Spark runs"),
    _Row(
        r"No suitable driver",
        "with what Spark was started: the driver's jar, --jars, and data.options.driver, its class",
    ),
    _Row(r"CANNOT_READ_FILE_FOOTER|is not a Parquet file", "whether data.format is that of the files"),
    _Row(
        r"COLUMN_ALREADY_EXISTS|Found duplicate column",
        "the names of its columns: for Spark those that differ in case alone are one, unless it is started with "
        "spark.sql.caseSensitive=true; rename them where they are written",
    ),
    _Row(r"Wrong FS: file", "the path: a local one has three slashes, file:///..."),
    _Row(
        r"PATH_NOT_FOUND|Path does not exist|UNABLE_TO_INFER_SCHEMA",
        "the path, a relative one resolves on fs.defaultFS, or on the working directory in local mode",
    ),
)
_OTHER = _Row("", _everything)
