"""Runs that heal: what died is started anew, and the model is, bit for bit, that of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.sql import SparkSession
from spark.drivers import (
    LIMIT_S,
    OFTEN,
    Run,
    assert_nothing_left,
    driver,
    inside,
    model,
    running,
    wait_for,
)

FAILURE = {"start_s": 240.0, "hang_s": 240.0, "max_restarts": 3}
HEALING: dict[str, Any] = {"checkpoint": OFTEN, "failure": FAILURE, "report": {"progress": "lines"}}
CLUSTER = "local-cluster[2,1,1024]"


def go(run: Run) -> None:
    """Let everything of this run pass the gate, now and later."""
    (run.gates / "go").touch()


def events_of(run: Run) -> list[dict[str, Any]]:
    path = run.outcome()["events"].removeprefix("file:")
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def assert_equal(run: Run, undisturbed: tuple[bytes, dict[str, Any]]) -> None:
    """The run is a success and its result that of the undisturbed one: parameters and metrics of every epoch."""
    outcome = run.outcome()
    assert (outcome["status"], outcome["epochs"], outcome["steps"]) == ("succeeded", 2, 24)
    assert model(run.folder) == undisturbed[0]
    for one, other in zip(outcome["history"], undisturbed[1]["history"]):
        assert (one["epoch"], one["training"], one["validation"]) == (
            other["epoch"],
            other["training"],
            other["validation"],
        )
    assert len(outcome["history"]) == 2


LONG = pytest.mark.long
#: Of the two workers, which share memory, the one of rank 0 leads: it alone talks to the servers.
DEATHS = [
    ("worker", 0, "middle"),
    pytest.param("worker", 1, "middle", marks=LONG),
    ("server", 0, "end"),
    pytest.param("scheduler", 0, "middle", marks=LONG),
]


@pytest.mark.parametrize(("victim", "rank", "moment"), DEATHS)
def test_a_killed_role_is_healed_in_place(
    spark: SparkSession,
    tmp_path: Path,
    victim: str,
    rank: int,
    moment: str,
    undisturbed: tuple[bytes, dict[str, Any]],
) -> None:
    with inside(tmp_path, moment, **HEALING) as run:
        run.reached()
        family, roles = run.family(), run.roles()
        agents = {psutil.Process(pid).ppid() for pid in roles.values()}
        pid = roles[victim, rank]
        assert running(pid)
        os.kill(pid, signal.SIGKILL)
        go(run)
        second = wait_for("the second attempt", lambda: other_roles(run, roles))
        assert {psutil.Process(pid).ppid() for pid in second.values()} == agents, "the agents live on"
        assert run.popen.wait(LIMIT_S) == 0, run.log
        assert_nothing_left(run, family | set(second.values()), sockets=8)
    assert_equal(run, undisturbed)
    (attempt,) = run.outcome()["attempts"]
    assert (attempt["how"], attempt["number"], attempt["cause"]["pid"]) == ("in place", 1, pid)
    assert attempt["resumed"] >= (8 if moment == "middle" else 20), "what is staged may still be committed"
    assert attempt["resumed"] <= attempt["reached"]
    down_s, lost_s = attempt["down_s"], attempt["lost_s"]
    print(f"{victim} {rank} at {moment}: next step {down_s:.2f} s after the death, {lost_s:.2f} s lost")
    assert 0 < attempt["down_s"] <= attempt["lost_s"]
    (restarting,) = [line for line in events_of(run) if line["event"] == "Restarting"]
    assert (restarting["how"], restarting["step"], restarting["cause"]["signal"]) == (
        "in place",
        attempt["resumed"],
        "SIGKILL",
    )
    began = [line["step"] for line in events_of(run) if line["event"] == "Started"]
    assert began == [0, 0, attempt["resumed"], attempt["resumed"]], "both workers of both attempts"
    folder = Path(run.outcome()["events"].removeprefix("file:")).parent
    assert {"worker-0.log", "worker-0.attempt-2.log"} <= {path.name for path in folder.iterdir()}
    assert (
        f"{victim} {attempt['cause']['rank']} on " in run.log
        and "attempt 2 goes on with the same agents from step" in run.log
    )


def other_roles(run: Run, before: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Return the roles of the next attempt once all are there, before that nothing."""
    found = run.roles()
    return found if len(found) == len(before) and not set(found.values()) & set(before.values()) else {}


def executors(run: Run) -> list[psutil.Process]:
    """Return the executors' JVMs."""
    found = []
    for pid in sorted(run.family()):
        with contextlib.suppress(psutil.Error):  # it ended while we looked
            process = psutil.Process(pid)
            if any("CoarseGrainedExecutorBackend" in word for word in process.cmdline()):
                found.append(process)
    return found


def slot_agents(run: Run) -> list[psutil.Process]:
    """Return the agents of the slots, by what they are the parent of."""
    parents = {psutil.Process(pid).ppid() for (role, _), pid in run.roles().items() if role == "worker"}
    return [psutil.Process(pid) for pid in sorted(parents)]


@pytest.mark.parametrize(
    "victim", ["executor and its files", pytest.param("task", marks=LONG), pytest.param("agent", marks=LONG)]
)
def test_a_lost_slot_is_healed_by_a_new_stage(
    tmp_path: Path, victim: str, undisturbed: tuple[bytes, dict[str, Any]]
) -> None:
    """On ``local-cluster``, whose executors are processes of their own, the same job gives the same bits.

    With an executor the rows it spooled are lost too, and are read again.
    """
    with driver(tmp_path, "middle", CLUSTER, **HEALING) as run:
        run.reached()
        family = run.family()
        agent = slot_agents(run)[0]
        doomed = {"executor and its files": lambda: executors(run)[0], "task": agent.parent, "agent": lambda: agent}
        process = doomed[victim]()
        assert process is not None and running(process.pid)
        spools = list((tmp_path / "local").rglob("*.rows"))
        assert spools
        process.kill()
        if victim.startswith("executor"):
            for path in spools:
                path.unlink()
        go(run)
        assert run.popen.wait(LIMIT_S) == 0, run.log
        assert_nothing_left(run, family, sockets=None)
    assert_equal(run, undisturbed)
    (attempt,) = run.outcome()["attempts"]
    assert (attempt["how"], attempt["workers"]) == ("stage", 2)
    assert attempt["resumed"] >= 8, "until the loss is noticed the run goes on, and may commit another checkpoint"
    assert attempt["cause"]["kind"] in ("agent", "stage")
    assert ("spooling again" in run.log) == victim.startswith("executor")
    print(f"{victim}: next step {attempt['down_s']:.2f} s after the loss")


def test_a_smaller_gang_goes_on_when_a_slot_is_lost_for_good(
    tmp_path: Path, undisturbed: tuple[bytes, dict[str, Any]]
) -> None:
    """The one worker that is left trains all rows, at the same global batch: metrics say so exactly."""
    sections = {**HEALING, "failure": {**FAILURE, "start_s": 40.0}, "cluster": {"min_workers": 1}}
    with driver(tmp_path, "middle", CLUSTER, "shrinking.py", **sections) as run:
        run.reached()
        family = run.family()
        (run.gates / "shrink").touch()
        wait_for("the loss", lambda: len(executors(run)) == 1)
        go(run)
        assert run.popen.wait(LIMIT_S) == 0, run.log
        assert_nothing_left(run, family, sockets=None)
    outcome = run.outcome()
    assert (outcome["status"], outcome["steps"]) == ("succeeded", 24)
    started = [(line["role"], line["rank"]) for line in events_of(run) if line["event"] == "Started"]
    assert started == [("worker", 0), ("worker", 1), ("worker", 0)] or started[2:] == [("worker", 0)]
    for one, other in zip(outcome["history"], undisturbed[1]["history"]):
        assert one["rows"] == other["rows"]
        assert one["training"] == pytest.approx(other["training"], rel=1e-5)
