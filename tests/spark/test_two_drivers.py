"""Two real drivers on one job dir: a live one stays its owner, the same job started again replaces it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from spark.drivers import LIMIT_S, assert_nothing_left, driver, inside, running, wait_for
from spark.jobs import digits

from mxspark.cli import main, train
from mxspark.config.job_config import JobConfig
from mxspark.config.overrides import Override
from mxspark.result import SUCCEEDED, Result
from mxspark.spark.run.context import run_info

LEASE_S = 6.0
AIRFLOW = {"DAG_ID": "nightly", "TASK_ID": "train", "DAG_RUN_ID": "scheduled__2024-01-01T00:00:00+00:00"}


def identity(folder: Path, **job: object) -> str:
    made = JobConfig.from_dict(digits(folder, job=job))
    return run_info("run", f"file://{folder}", made).job_id


def test_the_identity_of_a_job_is_given_or_the_schedulers_or_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in AIRFLOW:
        monkeypatch.delenv(f"AIRFLOW_CTX_{name}", raising=False)
    assert identity(tmp_path) == identity(tmp_path) != identity(tmp_path / "other")
    for name, value in AIRFLOW.items():
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", value)
    monkeypatch.setenv("AIRFLOW_CTX_TRY_NUMBER", "1")
    first = identity(tmp_path)
    monkeypatch.setenv("AIRFLOW_CTX_TRY_NUMBER", "2")
    assert identity(tmp_path) == first == "nightly.train.scheduled__2024-01-01T00_00_00_00_00"
    assert identity(tmp_path, id="mine") == "mine"


def test_the_flags_of_the_command_line_are_keys_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(train, "_train", lambda *given: seen.append(given) or (Result(SUCCEEDED, "run", ""), 0))
    job = str(tmp_path / "job.yaml")
    given = [
        "--config",
        job,
        "--set",
        "job.id=a",
        "--job-id",
        "2024.b",
        "--take-over",
        "--fresh",
        "--master",
        "local[2]",
    ]
    assert main.main(["train", *given]) == 0
    switches = [Override("job.take_over=true", "--take-over"), Override("job.fresh=true", "--fresh")]
    assert seen == [(job, ["job.id=a", *switches, Override('job.id="2024.b"', "--job-id 2024.b")], "local[2]")]


def test_a_driver_that_outlived_its_launcher_is_replaced_by_the_next_try_and_ends(
    spark: SparkSession, tmp_path: Path
) -> None:
    """As in practice: a runner is killed with -9, its driver lives on, and the retry starts a second one."""
    for name in ("first", "other", "retry"):
        (tmp_path / name).mkdir()
    shared = str(tmp_path / "first" / "job")
    failure = {"lease_s": LEASE_S, "hang_s": 300.0}  # it waits at the gate while two other drivers start
    checkpoint = {"every_steps": 5}
    with driver(tmp_path / "first", "middle", program="launcher.py", failure=failure, checkpoint=checkpoint) as first:
        first.reached()
        family = first.family()
        (old,) = psutil.Process(first.popen.pid).children()
        first.popen.kill()
        first.popen.wait(LIMIT_S)
        assert old.is_running() and old.ppid() != first.popen.pid
        with inside(tmp_path / "other", "none", job={"dir": shared, "id": "other"}) as other:
            assert other.popen.wait(LIMIT_S) == 2, other.log
        message = other.outcome()["message"]
        assert "belongs to a run that lives" in message and f"pid {old.pid}" in message and "--take-over" in message
        assert "--take-over" in other.outcome()["remedy"] and other.outcome()["remedy"] in message
        assert old.is_running(), "a run of another job must not end it"
        with inside(tmp_path / "retry", "none", job={"dir": shared}) as retry:
            wait_for("the next term", lambda: len(list(Path(shared, "_terms").glob("t000002"))) == 1)
            wait_for("the end of the old driver", lambda: not running(old.pid))
            wait_for("the end of its roles", lambda: not first.roles())
            assert retry.popen.wait(LIMIT_S) == 0, retry.log
            assert retry.outcome()["status"] == "succeeded"
        assert_nothing_left(first, family - {first.popen.pid}, sockets=None)
    outcome = first.outcome()
    assert outcome["status"] == "failed"
    assert "another run owns the job dir" in outcome["message"] and retry.outcome()["run_id"] in outcome["message"]
    assert outcome["cause"]["kind"] == "taken" and outcome["message"].endswith("; " + outcome["remedy"])
    assert "let the run that is named finish" in outcome["remedy"] and "--take-over" not in outcome["remedy"]
    committed = sorted(path.name for path in Path(shared, "checkpoints").iterdir())
    newer = [name for name in committed if name.endswith("t000002")]
    assert newer and committed[-1] in newer
    assert os.path.exists(Path(shared, "_terms", "t000001-over"))
