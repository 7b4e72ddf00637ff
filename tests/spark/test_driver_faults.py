"""The driver itself and its JVM are killed or stopped, in the spool and in training: named, ended, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Optional

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from spark.drivers import GONE_S, LIMIT_S, Driver, assert_nothing_left, driver, inside, running, wait_for
from spark.gates import read_gated
from spark.test_faults_restart import HEALING, assert_equal, go

from mxspark.spark.spool import inputs

LEASE = {"start_s": 240.0, "hang_s": 240.0, "lease_s": 3.0}
# in training a run below submit.sh meets the same
SPOOLING = [
    pytest.param("spooling.py", id="spool"),
    pytest.param(None, id="training", marks=pytest.mark.long),
]


def stop(pid: int) -> None:
    """Stop a process, and see it stopped: the signal is only queued when kill() returns."""
    os.kill(pid, signal.SIGSTOP)
    wait_for("the stop", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def jvm_of(run: Driver) -> int:
    return next(pid for pid in sorted(run.family()) if psutil.Process(pid).name() == "java")


def python_of(run: Driver) -> int:
    """Return the driver of a run that ``submit.sh`` has started."""
    return next(
        pid
        for pid in sorted(run.family())
        if psutil.Process(pid).name().startswith("python")
        and any("train.py" in w for w in psutil.Process(pid).cmdline())
        and psutil.Process(pid).parent().name() == "java"
    )


@pytest.mark.parametrize("program", SPOOLING)
def test_a_killed_jvm_is_named(tmp_path: Path, program: Optional[str]) -> None:
    with driver(tmp_path, "middle", program=program) as run:
        run.reached(1 if program else 2)
        family, jvm = run.family(), jvm_of(run)
        os.kill(jvm, signal.SIGKILL)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family, sockets=None)
    cause = run.outcome()["cause"]
    assert (cause["kind"], cause["role"], cause["pid"], cause["signal"]) == ("killed", "jvm", jvm, "SIGKILL")
    assert f"the driver's JVM on {cause['host']} (pid {jvm}): it is gone: killed by SIGKILL" in run.log
    assert "Traceback" not in run.log.split("failed:")[-1]


@pytest.mark.parametrize("program", [None, pytest.param("submit.sh", marks=pytest.mark.long)])
def test_a_heap_that_is_full_of_wide_rows_is_named(tmp_path: Path, program: Optional[str]) -> None:
    """Of a small file: Spark unpacks as many rows of 2 MiB at once as of any others."""
    wide = pa.array([np.zeros(1 << 18)] * 128, pa.list_(pa.float64()))
    pq.write_table(pa.table({"x": wide, "y": pa.array(range(128), pa.int32())}), tmp_path / "wide.parquet")
    data = {"path": str(tmp_path / "wide.parquet"), "features": ["x"], "label": "y"}
    small = "local[2] --conf spark.driver.memory=480m"
    with driver(tmp_path, "none", small, program, data=data) as run:
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, set(), sockets=None)
    outcome = run.outcome()
    assert outcome["cause"]["kind"] == "heap", outcome
    for words in (
        "(java.lang.OutOfMemoryError) while rows were read 4096 at a time (spark.sql.parquet.columnarReaderBatchSize), "
        "however wide they are",
        "(spark.sql.execution.arrow.maxRecordsPerBatch), with spark.driver.memory = 480m",
    ):
        assert words in outcome["message"]
    assert "let it hold fewer rows at once (spark.sql.parquet.columnarReaderBatchSize" in outcome["remedy"]


@pytest.mark.parametrize("program", SPOOLING)
def test_a_stopped_jvm_is_named_and_ended(tmp_path: Path, program: Optional[str]) -> None:
    """Every call into it would wait for ever."""
    with driver(tmp_path, "middle", program=program, failure=LEASE) as run:
        run.reached(1 if program else 2)
        family, jvm = run.family(), jvm_of(run)
        stop(jvm)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family, sockets=None)
    cause = run.outcome()["cause"]
    assert (cause["kind"], cause["role"], cause["pid"]) == ("stopped", "jvm", jvm)
    assert f"the driver's JVM on {cause['host']} (pid {jvm}): it was stopped by a signal for" in run.log


@pytest.fixture
def gated_spool(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows of runs in this process wait at the gate while they are spooled."""
    monkeypatch.setattr(inputs, "read", read_gated(str(tmp_path / "gates")))


def test_a_stopped_process_of_the_spool_is_named(gated_spool: None, tmp_path: Path) -> None:
    with inside(tmp_path, "none", failure={"hang_s": 3.0}) as run:
        run.reached(1)
        family = run.family()
        victim = int(next(run.gates.glob("reached-*")).name.partition("-")[2])
        stop(victim)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family | {victim}, sockets=None)
    cause = run.outcome()["cause"]
    assert (cause["kind"], cause["role"], cause["pid"], cause["signal"]) == ("stopped", "spark", victim, "SIGSTOP")
    assert "failure.hang_s = 3 s while the rows were spooled" in run.log


def test_a_slow_spool_is_told_and_not_ended(gated_spool: None, tmp_path: Path) -> None:
    with inside(tmp_path, "none", failure={"hang_s": 5.0}, report={"progress": "lines"}) as run:
        run.reached(1)
        wait_for("the warning", lambda: "spooling: no task of Spark's has ended for 5 s, 1 running" in run.log)
        go(run)
        assert run.popen.wait(LIMIT_S) == 0, run.log


def test_a_stopped_driver_loses_its_roles_and_goes_on_when_it_is_continued(
    tmp_path: Path, undisturbed: tuple[bytes, dict[str, object]]
) -> None:
    sections = {**HEALING, "failure": {**HEALING["failure"], "lease_s": 3.0}}
    with driver(tmp_path, "middle", **sections) as run:
        run.reached()
        roles = run.roles()
        assert len(roles) == 5
        stop(run.popen.pid)
        wait_for("the end of the roles", lambda: not [pid for pid in roles.values() if running(pid)])
        go(run)
        os.kill(run.popen.pid, signal.SIGCONT)
        assert run.popen.wait(LIMIT_S) == 0, run.log
    assert_equal(run, undisturbed)
    (attempt,) = run.outcome()["attempts"]
    assert (attempt["cause"]["kind"], attempt["cause"]["pid"]) == ("stopped", run.popen.pid)
    assert f"the driver on {attempt['cause']['host']} (pid {run.popen.pid}): it was stopped by a signal" in run.log


# -- with submit.sh between ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGSTOP])
def test_a_driver_below_submit_sh_is_named(tmp_path: Path, how: signal.Signals) -> None:
    with driver(tmp_path, "middle", program="submit.sh", failure=LEASE) as run:
        run.reached()
        family, pid = run.family(), python_of(run)
        os.kill(pid, how)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
        assert not list((tmp_path / "tmp").iterdir())
    cause = run.outcome()["cause"]
    kind = "killed" if how == signal.SIGKILL else "stopped"
    assert (cause["kind"], cause["role"], cause["pid"], cause["signal"]) == (kind, "driver", pid, how.name)
    outcome = run.outcome()
    kept = json.loads((tmp_path / "job/runs" / outcome["run_id"] / "failure.json").read_text())
    assert kept["cause"] == outcome["cause"]
    last = run.log.split("failed:")[-1]
    assert f"the driver on {cause['host']} (pid {pid}): " in last and "start the same command again" in last


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_a_jvm_of_submit_sh_is_named(tmp_path: Path, how: signal.Signals) -> None:
    """Though the driver was started with its output going through the JVM, it can say so."""
    with driver(tmp_path, "middle", program="submit.sh", failure=LEASE) as run:
        run.reached()
        family, jvm = run.family(), jvm_of(run)
        os.kill(jvm, how)
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family)
        assert not list((tmp_path / "tmp").iterdir())
    outcome = run.outcome()
    assert (outcome["cause"]["role"], outcome["cause"]["pid"]) == ("jvm", jvm)
    assert f"the driver's JVM on {outcome['cause']['host']} (pid {jvm}): " in run.log
    kept = json.loads((tmp_path / "job/runs" / outcome["run_id"] / "failure.json").read_text())
    assert kept["cause"] == outcome["cause"]


def test_a_stopped_driver_whose_command_line_is_killed_ends(tmp_path: Path) -> None:
    with driver(tmp_path, "middle", program="submit.sh", failure=LEASE) as run:
        run.reached()
        family = run.family()
        stop(python_of(run))
        run.popen.kill()
        run.popen.wait(LIMIT_S)
        wait_for("the end of every process", lambda: not [pid for pid in family if running(pid)])
        assert not run.roles()
    (folder,) = (tmp_path / "job/runs").iterdir()
    assert not (folder / "failure.json").exists(), "the driver was killed, and could not say a word"


def test_a_killed_command_line_is_named_where_the_run_is_kept(tmp_path: Path) -> None:
    with driver(tmp_path, "middle", program="submit.sh") as run:
        run.reached()
        family = run.family()
        run.popen.kill()
        run.popen.wait(LIMIT_S)
        wait_for("the end of every process", lambda: not [pid for pid in family if running(pid)], GONE_S)
        for folder in (tmp_path / "tmp").glob("mxspark-start-*"):
            shutil.rmtree(folder)  # the next start would, later
        assert_nothing_left(run, family)
    (folder,) = (tmp_path / "job/runs").iterdir()
    kept = json.loads((folder / "failure.json").read_text())
    assert f"the command line that had started it (pid {run.popen.pid}) was killed" in kept["cause"]["message"]
