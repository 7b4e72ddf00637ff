"""kill -9 of every kind of process at every stage: the run ends at once, names the victim, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from spark.drivers import LIMIT_S, Run, assert_nothing_left, driver, inside, running, wait_for

LONG = pytest.mark.long
SHORT = [("scheduler", "start"), ("worker", "end")]
DEATHS = [
    pytest.param(victim, moment, marks=() if (victim, moment) in SHORT else LONG)
    for victim in ("scheduler", "server", "worker")
    for moment in ("start", "middle", "end")
]


@pytest.mark.parametrize(("victim", "moment"), DEATHS)
def test_a_killed_role_ends_the_run(spark: SparkSession, tmp_path: Path, victim: str, moment: str) -> None:
    with inside(tmp_path, moment) as run:
        run.reached()
        family, roles = run.family(), run.roles()
        assert sorted(role for role, _ in roles) == ["scheduler", "server", "server", "worker", "worker"]
        pid = next(pid for (role, _), pid in sorted(roles.items()) if role == victim)
        assert running(pid), "the victim must live before it is killed"
        os.kill(pid, signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
    outcome = run.outcome()
    cause = outcome["cause"]
    assert (outcome["status"], cause["role"], cause["pid"], cause["signal"]) == ("failed", victim, pid, "SIGKILL")
    assert f"{victim} {cause['rank']} on " in run.log and f"(pid {pid}): killed by SIGKILL" in run.log
    kept = json.loads((tmp_path / "job/runs" / outcome["run_id"] / "failure.json").read_text())
    assert (kept["cause"], kept["remedy"]) == (cause, outcome["remedy"])


@pytest.mark.parametrize("moment", [pytest.param("start", marks=LONG), "middle", pytest.param("end", marks=LONG)])
def test_a_killed_driver_takes_everything_with_it(tmp_path: Path, moment: str) -> None:
    with driver(tmp_path, moment) as run:
        run.reached()
        family = run.family()
        assert len(run.roles()) == 5 and any("java" in psutil.Process(pid).name() for pid in family)
        os.kill(run.popen.pid, signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == -signal.SIGKILL
        assert_nothing_left(run, family)


def agents(run: Run) -> dict[str, int]:
    """Return the agents' pids by what they are."""
    found = {}
    for pid in run.family():
        parent = psutil.Process(pid).parent()
        if pid in run.roles().values() and parent is not None:
            role = next(role for role, other in run.roles().items() if other == pid)
            found["driver's" if role[0] == "scheduler" else f"slot's {role[1]}"] = parent.pid
    return found


@pytest.mark.parametrize("whose", [pytest.param("driver's", marks=LONG), "slot's"])
def test_a_killed_agent_ends_the_run(spark: SparkSession, tmp_path: Path, whose: str) -> None:
    with inside(tmp_path, "middle") as run:
        run.reached()
        family = run.family()
        pid = next(pid for name, pid in sorted(agents(run).items()) if name.startswith(whose))
        family |= {pid}
        assert running(pid)
        os.kill(pid, signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
    assert run.outcome()["cause"]["kind"] == "agent" and "agent" in run.log


@pytest.mark.parametrize("whose", ["driver's", pytest.param("slot's", marks=LONG)])
def test_a_stopped_agent_is_given_up(spark: SparkSession, tmp_path: Path, whose: str) -> None:
    """SIGSTOP: it lives, and says nothing. The lease ends it, and nothing of it stays, stopped or not."""
    with inside(tmp_path, "middle", failure={"start_s": 240.0, "hang_s": 240.0, "lease_s": 3.0}) as run:
        run.reached()
        family = run.family()
        pid = next(pid for name, pid in sorted(agents(run).items()) if name.startswith(whose))
        family |= {pid}
        os.kill(pid, signal.SIGSTOP)
        # the signal is only queued when kill() returns: one that is on a core stops a moment later
        wait_for("the stop", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
    assert run.outcome()["cause"]["role"] == "agent" and "silent for" in run.log


def test_a_killed_python_worker_of_spark_ends_the_run(spark: SparkSession, tmp_path: Path) -> None:
    with inside(tmp_path, "middle") as run:
        run.reached()
        family = run.family()
        slot = next(pid for name, pid in sorted(agents(run).items()) if name.startswith("slot's"))
        task = psutil.Process(slot).parent()
        assert task is not None and "python" in task.name() and running(task.pid)
        task.kill()
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
    assert run.outcome()["status"] == "failed"


def test_a_killed_executor_ends_the_run(tmp_path: Path) -> None:
    with driver(tmp_path, "middle", master="local-cluster[2,1,1024]") as run:
        run.reached()
        family = run.family()
        executor = next(
            process
            for process in map(psutil.Process, sorted(family))
            if any("CoarseGrainedExecutorBackend" in word for word in process.cmdline())
        )
        executor.kill()
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
    assert run.outcome()["status"] == "failed"
    assert "Spark lost executor" in run.outcome()["cause"]["message"] and "137" in run.outcome()["message"]


def test_the_next_run_goes_on_after_a_kill(spark: SparkSession, tmp_path: Path) -> None:
    sections = {"checkpoint": {"every_steps": 4}}
    with inside(tmp_path, "middle", **sections) as run:
        run.reached()
        pid = next(pid for (role, _), pid in run.roles().items() if role == "worker")
        os.kill(pid, signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == 4, run.log
    (tmp_path / "gates" / "go").touch()
    for path in (tmp_path / "gates").glob("reached-*"):
        path.unlink()
    (tmp_path / "again").mkdir()
    os.rename(tmp_path / "job", tmp_path / "again" / "job")
    with inside(tmp_path / "again", "none", **sections) as run:
        assert run.popen.wait(LIMIT_S) == 0, run.log
    outcome = run.outcome()
    assert (outcome["epochs"], outcome["steps"]) == (2, 24)
    assert sum(epoch["step"] for epoch in outcome["history"]) >= 24
