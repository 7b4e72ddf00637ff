"""``mxspark check``: what is wrong is found in a real session, and nothing is changed by looking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from leftovers import processes
from pyspark.sql import SparkSession
from spark.drivers import LIMIT_S, Call
from spark.jobs import digits

from mxspark.check.findings import INPUT, OK, PROBLEM, Finding
from mxspark.config.job_config import JobConfig
from mxspark.spark.check import driver

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("nothing_left")


def findings(folder: Path, **sections: Any) -> dict[str, Finding]:
    """Check the digits job, and prove that its job dir and Spark's folders are as they were."""
    training = {"network": "spark.gates:network", **sections.pop("training", {})}
    job = digits(folder / "deep/er/job", training=training, **sections)
    session = SparkSession.getActiveSession()
    assert session is not None
    local = Path(str(session.sparkContext.getConf().get("spark.local.dir")))
    before = files(folder), [path for path in local.rglob("mxspark-*")]
    told: list[object] = []
    found = driver.check(JobConfig.from_dict(job), session, told.append, told.append)
    assert [finding for finding in told if isinstance(finding, Finding)] == found
    assert isinstance(told[0], Finding), "it is shown before anything else is looked at"
    assert before == (files(folder), [path for path in local.rglob("mxspark-*")])
    return {finding.subject: finding for finding in found}


def files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_a_job_that_can_run(spark: SparkSession, tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert {finding.status for finding in found.values()} <= {OK, "warning"}, found
    assert {subject for subject, finding in found.items() if finding.status != OK} <= {"cores"}
    assert "2,410 trained values" in found["MXNet"].seen


def test_everything_that_is_wrong_is_found_at_once(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    sections = {"cluster": {"num_workers": 5}, "data": {"path": str(tmp_path / "none")}}
    found = findings(tmp_path, **sections)
    problems = {subject: finding.by for subject, finding in found.items() if finding.status == PROBLEM}
    assert problems == {"slots": "cluster", "job dir": INPUT, "data": INPUT}
    assert "local[5]" in found["slots"].seen and "is a file" in found["job dir"].seen


def test_a_network_that_raises_where_the_workers_are(spark: SparkSession, tmp_path: Path) -> None:
    found = findings(tmp_path, training={"network": "spark.gates:broken"})
    finding = found["network of the job"]
    assert (finding.status, finding.by) == (PROBLEM, INPUT)
    assert "LookupError: no such layer" in finding.seen and "in broken" in finding.seen


def test_a_module_that_makes_a_session_is_found(spark: SparkSession, tmp_path: Path) -> None:
    """In the process that builds the network a session comes up, as that is the child of a Spark task."""
    found = findings(tmp_path, training={"network": "spark.makes_session:network"})["network of the job"]
    assert (found.status, found.by) == (PROBLEM, INPUT)
    assert "spark.makes_session:network makes a Spark session, and a worker has no Spark" in found.seen


def test_what_a_network_starts_and_leaves_is_ended(spark: SparkSession, tmp_path: Path) -> None:
    found = findings(tmp_path, training={"network": "spark.gates:daemons"})
    assert found["MXNet"].status == OK and "2,410 trained values" in found["MXNet"].seen
    left = [" ".join(words) for _, words, _ in processes()]
    assert not {"sleep 1001", "sleep 1002"}.intersection(left)


@pytest.fixture
def job_file(tmp_path: Path) -> str:
    job = digits(tmp_path / "job", training={"network": "spark.gates:network"})
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    return str(tmp_path / "job.yaml")


def assert_told(words: str, code: int) -> None:
    """One JSON object, and nothing else."""
    report = json.loads(words)
    assert report["exit_code"] == code
    assert {finding["status"] for finding in report["findings"]} >= ({PROBLEM} if code else {OK})


def test_the_command_tells_programs(spark: SparkSession, job_file: str, tmp_path: Path) -> None:
    command = Call(["check", "--config", job_file, "--set", "report.every_s=5", "--json"], tmp_path / "log")
    assert command.wait(LIMIT_S) == 0
    assert_told((tmp_path / "log").read_text(), 0)


def test_the_command_tells_columns_with_misspelt_keys(spark: SparkSession, job_file: str, tmp_path: Path) -> None:
    options = ["--set", "cluster.num_wokers=2", "--set", "data.features={nothing: {}}", "--master", "local[2]"]
    assert Call(["check", "--config", job_file, *options], tmp_path / "log").wait(LIMIT_S) == 2
    words = " ".join((tmp_path / "log").read_text().split())
    assert "2 problems in" in words and "cluster.num_wokers: is not a key; did you mean num_workers?" in words
    assert "data: array 'nothing': column 'nothing' does not exist; the columns are pixels, digit" in words


def test_the_command_tells_programs_through_submit_sh(job_file: str) -> None:
    """The exit code, and the object on the standard output."""
    command = [str(ROOT / "submit.sh"), str(ROOT / "spark_jobs/check.py"), "--config", job_file]
    environment = {**os.environ, "MXSPARK_ENVIRONMENT": sys.prefix}
    done = subprocess.run(
        [*command, "--set", "training.network=spark.gates:nothing", "--json"], cwd=ROOT / "tests", env=environment,
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert_told(done.stdout, 2)


def test_the_command_says_what_it_does_and_spark_says_nothing(job_file: str) -> None:
    command = [str(ROOT / "submit.sh"), "--exec", "mxspark", "check", "--config", job_file, "--master", "local[2]"]
    environment = {**os.environ, "MXSPARK_ENVIRONMENT": sys.prefix}
    done = subprocess.run(
        command, cwd=ROOT / "tests", env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("mxspark: ")]
    assert [line.removeprefix("mxspark: ") for line in said] == [
        "starting Spark",
        "looking at the slots",
        "looking at the job dir",
        "looking at the data",
        "reading the first row",
        "building the network where 2 workers will be",
        "looking at the memory",
    ]
    of_spark = [line for line in done.stderr.splitlines() if " WARN " in line or "[Stage" in line or "log4j" in line]
    assert not of_spark, done.stderr
