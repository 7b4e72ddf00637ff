"""Roles that live and do nothing: found within `hang_s`, named, shown with their stacks, healed where that can help."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession
from spark.drivers import LIMIT_S, OFTEN, assert_nothing_left, inside, running, wait_for
from spark.test_faults_restart import go

HANG_S = 8.0
FAILURE = {"start_s": 240.0, "hang_s": HANG_S, "lease_s": 30.0, "max_restarts": 2}


@pytest.mark.parametrize("victim", ["server", pytest.param("worker", marks=pytest.mark.long)])
def test_a_stopped_role_is_named_and_the_run_heals(spark: SparkSession, tmp_path: Path, victim: str) -> None:
    exchange = "kvstore" if victim == "server" else "auto"  # inside one host no step needs a server
    with inside(tmp_path, "middle", failure=FAILURE, checkpoint=OFTEN, training={"exchange": exchange}) as run:
        run.reached()
        family, roles = run.family(), run.roles()
        pid = roles[victim, 1]  # a worker that does not lead its host
        os.kill(pid, signal.SIGSTOP)
        wait_for("the stop", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        began = time.monotonic()
        go(run)
        wait_for("the end of the victim", lambda: not running(pid))
        took_s = time.monotonic() - began
        assert run.popen.wait(LIMIT_S) == 0, run.log
        assert_nothing_left(run, family, sockets=None)
    (attempt,) = run.outcome()["attempts"]
    cause = attempt["cause"]
    assert (cause["kind"], cause["role"], cause["pid"], cause["signal"]) == ("hang", victim, pid, "SIGSTOP")
    assert "state T" in cause["message"] and attempt["how"] == "in place"
    print(f"stopped {victim}: its end came {took_s:.1f} s after the stop (hang_s = {HANG_S:g} s)")
    logs = (tmp_path / "job/runs" / run.outcome()["run_id"]).glob("*.log")
    stacks = {
        path.name for path in logs if re.search(r"^mxspark:   thread \d+ .*: state \w, in ", path.read_text(), re.M)
    }
    assert {"worker-0.log", "worker-1.log", "server-0.log", "server-1.log", "scheduler-0.log"} <= stacks


def test_endless_code_of_the_user_is_named_and_not_tried_for_ever(spark: SparkSession, tmp_path: Path) -> None:
    with inside(tmp_path, "middle", failure=FAILURE) as run:
        run.reached()
        family = run.family()
        assert run.popen.wait(LIMIT_S) == 4, run.log
        assert_nothing_left(run, family, sockets=None)
    outcome = run.outcome()
    first, last = outcome["attempts"]
    assert (first["cause"]["kind"], first["how"], last["how"]) == ("hang", "in place", "stop")
    assert "its main thread is in wait_here (" in outcome["cause"]["message"]
    assert "gates.py" in outcome["cause"]["log_tail"], "the stack"
    assert "the same failure came twice in a row" in run.log
