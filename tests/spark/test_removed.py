"""What somebody does to the job dir of a real run: removes it, moves it away, writes rubbish over its checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from spark.drivers import LIMIT_S, OFTEN, Run, assert_nothing_left, driver, inside, wait_for

LEASE_S = 6.0
LOOKS = {"start_s": 240.0, "hang_s": 300.0, "lease_s": LEASE_S, "max_restarts": 3}
WORDS = "was removed or moved away while this run was at work in it; by whom is not known"


def a_checkpoint(run: Run) -> Path:
    """Wait for the one before the gate."""
    return Path(wait_for("a checkpoint", lambda: list((run.folder / "job/checkpoints").glob("s*8-t*")))[0])


def assert_told_once(run: Run) -> None:
    """The run has ended with one error, lists nothing that is gone, and has made nothing again."""
    outcome = run.outcome()
    assert (outcome["status"], outcome["cause"]["kind"]) == ("failed", "removed")
    message = outcome["message"]
    assert message.startswith(f"the job dir file://{run.folder}/job {WORDS}") and "\n" not in message
    assert message.endswith("; " + outcome["remedy"]) and "the same command goes on" in outcome["remedy"]
    assert [outcome[name] for name in ("checkpoint", "events", "model", "best_model")] == [None] * 4
    assert "Traceback" not in run.log and "publishing failed" not in run.log
    summary = run.log[run.log.index("failed: the job dir") :].splitlines()
    assert not [line for line in summary if line.split(" ")[0] in ("model", "best", "checkpoint", "events")], summary
    assert not (run.folder / "job").exists()


@pytest.mark.parametrize("how", ["removed", pytest.param("moved", marks=pytest.mark.long)])
def test_a_job_dir_that_goes_away_while_nothing_is_published(spark: SparkSession, tmp_path: Path, how: str) -> None:
    with inside(tmp_path, "middle", checkpoint=OFTEN, failure=LOOKS, report={"progress": "lines"}) as run:
        run.reached()
        a_checkpoint(run)
        family = run.family()
        if how == "removed":
            shutil.rmtree(tmp_path / "job")
        else:
            (tmp_path / "job").rename(tmp_path / "elsewhere")
        gone = time.monotonic()
        assert run.popen.wait(LIMIT_S) == 2, run.log
        print(f"the driver had ended {time.monotonic() - gone:.1f} s after the job dir was {how}")
        assert_nothing_left(run, family)
    assert_told_once(run)
    if how == "moved":  # and its term is not noted as over: nobody is there to note it for
        (tmp_path / "elsewhere").rename(tmp_path / "job")
        assert sorted(path.name for path in (tmp_path / "job/_terms").iterdir()) == ["t000001"]
        (tmp_path / "again").mkdir()
        with inside(tmp_path / "again", "none", job={"dir": str(tmp_path / "job")}, checkpoint=OFTEN) as again:
            assert again.popen.wait(LIMIT_S) == 0, again.log
        assert again.outcome()["steps"] == 24
        assert len(again.outcome()["history"]) <= 2 and "t000002" in again.outcome()["checkpoint"]


def test_a_job_dir_that_is_removed_before_the_next_publish(spark: SparkSession, tmp_path: Path) -> None:
    """The lease is long: it is the next checkpoint that finds out."""
    failure = {**LOOKS, "lease_s": 3000.0}
    with inside(tmp_path, "middle", checkpoint=OFTEN, failure=failure, report={"progress": "lines"}) as run:
        run.reached()
        a_checkpoint(run)
        family = run.family()
        shutil.rmtree(tmp_path / "job")
        (run.gates / "go").touch()
        assert run.popen.wait(LIMIT_S) == 2, run.log
        assert_nothing_left(run, family)
    assert_told_once(run)


def test_a_job_dir_that_is_removed_and_a_role_that_dies(spark: SparkSession, tmp_path: Path) -> None:
    """The next attempt looks for a checkpoint to go on from, and finds no job dir."""
    with inside(tmp_path, "middle", checkpoint=OFTEN, failure=LOOKS, report={"progress": "lines"}) as run:
        run.reached()
        a_checkpoint(run)
        family, roles = run.family(), run.roles()
        shutil.rmtree(tmp_path / "job")
        os.kill(roles["worker", 1], signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == 2, run.log
        assert_nothing_left(run, family)
    assert_told_once(run)


@pytest.mark.long
def test_an_interrupt_after_the_job_dir_was_removed_lists_nothing(tmp_path: Path) -> None:
    with driver(tmp_path, "middle", checkpoint=OFTEN, report={"progress": "lines"}) as run:
        run.reached()
        a_checkpoint(run)
        family = run.family()
        shutil.rmtree(tmp_path / "job")
        run.popen.send_signal(signal.SIGINT)
        assert run.popen.wait(LIMIT_S) in (2, 130), run.log
        assert_nothing_left(run, family)
    assert [run.outcome()[name] for name in ("checkpoint", "events", "model", "best_model")] == [None] * 4
    assert not (tmp_path / "job").exists()


def test_rubbish_over_all_checkpoints_is_not_listed_as_one(spark: SparkSession, tmp_path: Path) -> None:
    with inside(tmp_path, "middle", checkpoint=OFTEN, failure=LOOKS, report={"progress": "lines"}) as run:
        run.reached()
        a_checkpoint(run)
        family, roles = run.family(), run.roles()
        for file in (tmp_path / "job/checkpoints").rglob("*"):
            if file.is_file():
                file.write_bytes(b"rubbish")
        os.kill(roles["worker", 1], signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == 2, run.log
        assert_nothing_left(run, family)
    outcome = run.outcome()
    assert "holds checkpoints, but none is good" in outcome["message"] and outcome["checkpoint"] is None
    assert outcome["events"] is not None and Path(outcome["events"].removeprefix("file://")).is_file()
    (tmp_path / "again").mkdir()
    with inside(tmp_path / "again", "none", job={"dir": str(tmp_path / "job")}, checkpoint=OFTEN) as again:
        assert again.popen.wait(LIMIT_S) == 2, again.log
    assert "holds checkpoints, but none is good" in again.outcome()["message"]
    assert again.outcome()["checkpoint"] is None
    (kept,) = (tmp_path / "job/runs").glob(f"{again.outcome()['run_id']}/failure.json")
    assert json.loads(kept.read_text())["message"] == again.outcome()["message"]
