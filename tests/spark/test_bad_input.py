"""Bad input gets one clear error at the earliest moment, and nothing is started that it would have wasted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from spark.jobs import ALONE, DIGITS, digits, train

import mxspark
from mxspark.protocol.events import Reported

pytestmark = pytest.mark.usefixtures("nothing_left")


def assert_fails(
    folder: Path, kind: type[Exception], message: str, df: Any = None, **sections: dict[str, Any]
) -> mxspark.MXSparkError:
    """Train, expect `kind` with a message that matches, and that no worker was started for it."""
    seen: list[Reported] = []
    with pytest.raises(kind) as caught:
        mxspark.train(df, digits(folder, **sections), on_event=seen.append)
    assert re.search(message, str(caught.value), re.S), str(caught.value)
    assert isinstance(caught.value, mxspark.MXSparkError)
    if kind in (mxspark.ConfigError, mxspark.DataError, mxspark.JobDirError):
        assert not seen, "found before anything was started"
    return caught.value


def test_columns_that_are_not_there_all_at_once(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame([("a", 1)], "picture string, digit int")
    error = assert_fails(
        tmp_path / "job",
        mxspark.ConfigError,
        "2 problems in the job.*pixels",
        frame.withColumnRenamed("digit", "digits"),
    )
    assert "column 'digit' does not exist; did you mean 'digits'?" in str(error)
    assert not (tmp_path / "job").exists(), "the job dir is made only for a job that can run"


def test_what_is_declared_is_checked_for_an_rdd_too(spark: SparkSession, tmp_path: Path) -> None:
    rdd = spark.sparkContext.parallelize([([1.0] * 64, 1)] * 8, 1)
    message = "data: array 'pix/els': the name cannot be a file name"
    features = {"pix/els": {"shape": [64]}}
    assert_fails(tmp_path / "job", mxspark.ConfigError, message, rdd, data={"features": features})


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("spark.nowhere:net", r"training.network: there is no module .spark.nowhere. in the working directory"),
        ("spark.gates:netwrok", r"training.network: module 'spark.gates' has no 'netwrok'; it defines .*network"),
    ],
)
def test_a_network_that_cannot_be_imported(spark: SparkSession, tmp_path: Path, network: str, message: str) -> None:
    assert_fails(tmp_path / "job", mxspark.ConfigError, message, training={"network": network})


def test_a_data_path_that_is_not_there(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "none.parquet")
    assert_fails(
        tmp_path / "job",
        mxspark.DataError,
        "data.path='.*none.parquet' cannot be read as 'parquet'",
        data={"path": path},
    )


def test_a_data_path_and_a_module_that_are_not_there_are_told_together(spark: SparkSession, tmp_path: Path) -> None:
    none = str(tmp_path / "none.parquet")
    message = (
        r"(?s)^2 problems in the job:.*data.path='.*none.parquet' cannot be .*training.network: there is no module"
    )
    training = {"network": "spark.nowhere:net"}
    assert_fails(tmp_path / "job", mxspark.ConfigError, message, data={"path": none}, training=training)
    data = {"path": none, "validation": {"fraction": 0.0, "path": f"{none}2"}}
    message = r"(?s)^2 problems in the job:.*data.path='.*data.validation.path='"
    training = {"metrics": ["accuracy"]}
    assert_fails(tmp_path / "job", mxspark.ConfigError, message, data=data, training=training)
    message = r"(?s)training.epoch: is not a key.*training.network: there is no module"
    training = {"network": "spark.nowhere:net", "epoch": 3}
    assert_fails(tmp_path / "job", mxspark.ConfigError, message, training=training)


def test_columns_are_told_with_keys_that_are_misspelt(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame([("a", 1.5)], "picture string, digit double")
    features = {"pixels": {}, "picture": {}, "other": {"colums": ["a", "b"]}}
    sections: dict[str, Any] = {"data": {"features": features}, "training": {"epoch": 3}}
    column, text = (
        r"array 'pixels': column 'pixels' does not exist",
        r"column 'picture' is of type string, which cannot",
    )
    keys = r"(?s)^4 problems in the job:\n  - data.features.other.colums: is not a key; did .*training.epoch: is not"
    assert_fails(tmp_path, mxspark.ConfigError, rf"{keys}.*  - data: {column}.*  - data: .*{text}", frame, **sections)
    frame.write.parquet(str(tmp_path / "rows"))
    sections["data"]["path"] = str(tmp_path / "rows")
    assert_fails(tmp_path, mxspark.ConfigError, rf"{keys}.*  - data: {column}.*  - data: .*{text}", **sections)
    sections["data"]["fromat"] = "csv"  # of what is read nothing is known
    told = assert_fails(tmp_path, mxspark.ConfigError, "^3 problems .*fromat: is not a key; did you mean", **sections)
    assert "does not exist" not in str(told)
    rows = frame.rdd
    assert_fails(tmp_path, mxspark.ConfigError, "^3 problems", rows, **sections)
    sections["data"] = {"path": str(Path(__file__)), "options": {"mode": 3}, "features": {"pixels": {"scale": 0}}}
    message = (
        r"(?s)^3 problems in .*pixels.scale: is 0.*epoch: is not a key.*data.path='.*' cannot be read as 'parquet'"
    )
    assert_fails(tmp_path, mxspark.ConfigError, message, **sections)


def test_a_function_that_uses_what_lives_in_the_driver(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(3)
    weights = spark.sparkContext.broadcast([1.0])

    def uses(value: Any) -> Any:
        def build() -> Any:
            return value

        return build

    for held, kind in ((spark, "SparkSession"), (frame, "DataFrame"), (frame.rdd, "RDD"), (frame.id, "Column")):
        message = (
            rf"training.network: .*build uses value \({kind}\), and there is no Spark in a worker; make what .* n = df"
        )
        assert_fails(tmp_path / "job", mxspark.ConfigError, message, training={"network": uses(held)})
    message = r"training.loss: .* uses weights \(Broadcast\), .* make what it needs .*, as in values = weights.value"
    assert_fails(tmp_path / "job", mxspark.ConfigError, message, training={"loss": lambda output, label: weights})


def test_what_is_no_data_of_sparks_or_never_ends(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(3)
    stream = spark.readStream.format("rate").load()
    for data, message in (
        (frame.groupBy("id"), r"df is a GroupedData .* give a DataFrame of it, df.agg"),
        (stream, r"df is a stream, which has no end, .*; write it to a table"),
    ):
        assert_fails(tmp_path / "job", mxspark.InputError, message, data)


def test_more_workers_than_slots(spark: SparkSession, tmp_path: Path) -> None:
    message = r"cluster.num_workers is 5, but the master 'local\[4\]' never has more than 4 slots.*--master local\[5\]"
    assert_fails(tmp_path / "job", mxspark.ClusterError, message, cluster={"num_workers": 5})


def test_dynamic_allocation(spark: SparkSession, tmp_path: Path) -> None:
    spark.sparkContext._conf.set("spark.dynamicAllocation.enabled", "true")
    try:
        assert_fails(tmp_path / "job", mxspark.ConfigError, "--conf spark.dynamicAllocation.enabled=false")
    finally:
        spark.sparkContext._conf.set("spark.dynamicAllocation.enabled", "false")


def test_bad_rows_are_counted_by_column_and_kind(spark: SparkSession, tmp_path: Path) -> None:
    rows = [([0.0] * 64, 1)] * 5 + [
        (None, 1),
        ([0.0] * 63, 2),
        ([float("nan")] * 64, 3),
        ([0.0] * 64, None),
        ([float("inf")] * 64, 0),
    ]
    frame = spark.createDataFrame(rows, "pixels array<float>, digit int").repartition(3)
    error = assert_fails(tmp_path / "job", mxspark.DataError, "the data cannot be trained on", frame)
    for line in (r"pixels: 1 row.*null", r"pixels: 2 rows.*finite", r"pixels: 1 row.*63", r"digit: 1 row.*null"):
        assert re.search(line, str(error)), f"{line} not in\n{error}"


def test_no_rows(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.read.parquet(DIGITS).where("digit > 100")
    assert_fails(tmp_path / "job", mxspark.DataError, "the data has no rows", frame)


def test_labels_outside_the_declared_classes(spark: SparkSession, tmp_path: Path) -> None:
    assert_fails(
        tmp_path / "job",
        mxspark.DataError,
        r"digit: \d+ rows",
        data={"label": {"digit": {"dtype": "int32", "classes": 9}}},
    )


def test_labels_outside_the_networks_output(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.read.parquet(DIGITS).selectExpr("pixels", "digit + 5 as digit")
    with pytest.raises(mxspark.DataError, match=r"digit.*14"):
        train(tmp_path / "job", frame, cluster=ALONE)


def test_a_network_that_raises_shows_its_own_traceback(spark: SparkSession, tmp_path: Path) -> None:
    def network() -> Any:
        return {}["no such layer"]

    with pytest.raises(mxspark.TrainingCodeError, match=r"worker \d on .*KeyError: 'no such layer'") as caught:
        train(tmp_path / "job", training={"network": network})
    assert 'return {}["no such layer"]' in str(caught.value) or "in network" in str(caught.value)
    assert caught.value.cause is not None and caught.value.cause.kind == "training"


def test_user_code_that_raises_at_a_step(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(
        mxspark.TrainingCodeError, match="ZeroDivisionError: the user's metric divides by zero"
    ) as caught:
        train(tmp_path / "job", training={"metrics": ["spark.gates:failing"]})
    cause = caught.value.cause
    assert cause is not None and cause.role == "worker" and cause.step is not None and 3 <= cause.step <= 6
    assert "gates.py" in cause.traceback


def test_a_network_that_is_no_network(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(mxspark.TrainingCodeError, match="HybridBlock"):
        train(tmp_path / "job", cluster=ALONE, training={"network": lambda: 3})


def test_user_code_that_exits_is_no_success(spark: SparkSession, tmp_path: Path) -> None:
    def network() -> Any:
        raise SystemExit(0)

    with pytest.raises(mxspark.TrainingCodeError, match="SystemExit"):
        train(tmp_path / "job", cluster=ALONE, training={"network": network})


def test_job_dirs_of_other_jobs(spark: SparkSession, tmp_path: Path) -> None:
    train(tmp_path / "job", cluster=ALONE, training={"epochs": 1})
    changes: dict[str, dict[str, Any]] = {"training": {"seed": 8, "batch_size": 64}}
    assert_fails(
        tmp_path / "job",
        mxspark.JobDirError,
        r"training.batch_size: was 128, now 64.*training.seed: was 7, now 8",
        **changes,
    )
    frame = spark.read.parquet(DIGITS).where("digit < 9")
    with pytest.raises(mxspark.JobDirError, match=r"data.rows: was \d+, now \d+"):
        train(tmp_path / "job", frame, cluster=ALONE, training={"epochs": 1})


def test_job_dirs_that_cannot_be_used(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_fails(tmp_path / "file", mxspark.JobDirError, "is a file")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    assert_fails(tmp_path / "photos", mxspark.JobDirError, r"not empty and not a job dir: it holds cat.png")
    assert_fails(tmp_path / "x", mxspark.JobDirError, "object store", job={"dir": "s3a://bucket/job"})


def test_a_failing_udf_shows_the_users_traceback(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.sql.functions import udf

    broken = udf(lambda digit: digit // 0, "int")
    frame = spark.read.parquet(DIGITS).withColumn("digit", broken("digit"))
    assert_fails(tmp_path / "job", mxspark.DataError, "ZeroDivisionError", frame)


def test_spark_connect_is_refused(tmp_path: Path) -> None:
    class Connected:
        """What a Connect session looks like: no driver JVM behind it."""

    with pytest.raises(mxspark.InputError, match="Spark Connect"):
        mxspark.train(None, digits(tmp_path / "job"), spark=Connected())  # type: ignore[arg-type]


def test_the_command_line_ends_with_the_right_code(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("data: {}\n")
    command = [
        sys.executable,
        "-m",
        "mxspark",
        "train",
        "--config",
        str(tmp_path / "job.yaml"),
        "--result",
        str(tmp_path / "r.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and "training: is missing" in done.stderr
    assert '"status": "failed"' in (tmp_path / "r.json").read_text()


def test_a_file_in_another_format_is_told_without_the_stack_of_java(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    (tmp_path / "job.yaml").write_text(
        f"data: {{path: 'file:{tmp_path}/rows.csv', features: [x], label: y}}\n"
        "training: {network: 'spark.gates:network', loss: l2}\n"
    )
    command = [sys.executable, "-m", "mxspark", "train", "--config", str(tmp_path / "job.yaml")]
    # as a user has it: a log of their own would win
    environ = {name: value for name, value in os.environ.items() if name not in ("SPARK_SUBMIT_OPTS", "SPARK_CONF_DIR")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environ)
    assert done.returncode == 2 and "check whether data.format is that of the files" in done.stderr
    assert "Executor" not in done.stderr and "\tat org.apache" not in done.stderr


@pytest.mark.parametrize(
    ("metric", "words"), [("endless", "zzz.*characters are left out"), ("mute", "its __str__ raised RuntimeError")]
)
def test_exceptions_that_are_hard_to_report(spark: SparkSession, tmp_path: Path, metric: str, words: str) -> None:
    with pytest.raises(mxspark.TrainingCodeError, match=f"(?s){words}") as caught:
        train(tmp_path / "job", cluster=ALONE, training={"metrics": [f"spark.gates:{metric}"]})
    assert caught.value.cause is not None and caught.value.cause.role == "worker"
    assert "gates.py" in caught.value.cause.traceback
    assert len(str(caught.value)) < 200_000


def test_a_metric_that_is_not_a_number_still_gives_json(spark: SparkSession, tmp_path: Path) -> None:
    result = train(tmp_path / "job", cluster=ALONE, training={"epochs": 1, "metrics": ["spark.gates:not_a_number"]})
    text = (tmp_path / "job/runs" / result.run_id / "result.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))["status"] == "succeeded"


def test_rows_that_cannot_be_trained_on_leave_no_spool(spark: SparkSession, tmp_path: Path) -> None:
    rows = [([0.0] * 64, 1)] * 50 + [([0.0] * 64, None)]
    assert_fails(
        tmp_path / "job",
        mxspark.DataError,
        "digit: 1 row",
        spark.createDataFrame(rows, "pixels array<float>, digit int"),
    )
    local = Path(spark.sparkContext.getConf().get("spark.local.dir", ""))
    assert local.is_absolute() and list(local.glob("blockmgr-*")) and not list(local.glob("*/mxspark-*"))


def test_a_network_for_rows_of_another_shape(spark: SparkSession, tmp_path: Path) -> None:
    message = r"does not take batches of shape \(128, 64\).*set data.features.<name>.shape"
    with pytest.raises(mxspark.TrainingCodeError, match=f"(?s){message}") as caught:
        train(tmp_path / "job", cluster=ALONE, training={"network": "spark_jobs.networks:lenet"})
    for name in ("Traceback", "TrainingCodeError", ".py", ".cc:"):
        assert name not in str(caught.value), "the user's key is wrong, not code of theirs"


def test_a_network_without_parameters(spark: SparkSession, tmp_path: Path) -> None:
    def network() -> Any:
        from mxnet import gluon

        return gluon.nn.Flatten()

    with pytest.raises(mxspark.TrainingCodeError, match="no parameter that takes a gradient"):
        train(tmp_path / "job", cluster=ALONE, training={"network": network})


STOPPED = """\
import mxspark
from pyspark.sql import SparkSession
first = SparkSession.builder.master("local[1]").getOrCreate()
frame = first.range(4).selectExpr("cast(id as float) a", "cast(id as float) y")
job = {"data": {"features": ["a"], "label": "y"}, "training": {"network": "nowhere:net", "loss": "l2"}}
given = [((frame, job), {}), ((frame.rdd, job), {}), ((None, job), {"spark": first})]
first.stop()
SparkSession.builder.master("local[1]").getOrCreate()
for rows, session in given:
    try:
        mxspark.train(*rows, **session)
    except mxspark.InputError as error:
        print("told:", error)
"""


def test_a_session_that_was_stopped_is_named_before_anything(spark: SparkSession, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STOPPED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    told = [line for line in done.stdout.splitlines() if line.startswith("told:")]
    assert [line.partition(" of a session")[0] for line in told[:2]] == [
        "told: df is a DataFrame",
        "told: df is an RDD",
    ], done.stderr
    assert all("make a new session, SparkSession.builder.getOrCreate(), and read the rows" in line for line in told[:2])
    assert told[2].startswith("told: spark is a session that was stopped"), done.stderr
