"""``mxspark check``: what is wrong is found in a real session, and nothing is changed by looking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from leftovers import processes
from pyspark.sql import SparkSession
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
    found = driver.check(JobConfig.from_dict(job), session, lambda _words: None)
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


def test_what_a_network_starts_and_leaves_is_ended(spark: SparkSession, tmp_path: Path) -> None:
    found = findings(tmp_path, training={"network": "spark.gates:daemons"})
    assert found["MXNet"].status == OK and "2,410 trained values" in found["MXNet"].seen
    left = [" ".join(words) for _, words, _ in processes()]
    assert not {"sleep 1001", "sleep 1002"}.intersection(left)


@pytest.fixture(scope="module")
def job_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("job")
    job = digits(folder / "job", training={"network": "spark.gates:network"})
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    yield folder / "job.yaml"


@pytest.mark.parametrize(("override", "code"), [("report.every_s=5", 0), ("training.network=spark.gates:nothing", 2)])
def test_the_command_tells_programs(job_file: Path, override: str, code: int) -> None:
    """The exit code, and one JSON object on the standard output."""
    command = [str(ROOT / "submit.sh"), str(ROOT / "spark_jobs/check.py"), "--config", str(job_file)]
    environment = {**os.environ, "MXSPARK_ENVIRONMENT": sys.prefix}
    done = subprocess.run(
        [*command, "--set", override, "--json"], cwd=ROOT / "tests", env=environment,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    report = json.loads(done.stdout)
    assert report["exit_code"] == code
    assert {finding["status"] for finding in report["findings"]} >= ({PROBLEM} if code else {OK})
