"""A long run under a seeded schedule of faults of every kind: the same result as if undisturbed, and no leaks.

``SOAK_FAULTS`` and ``SOAK_SEED`` choose another number of faults (200) and another schedule (1).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import psutil
import pytest
from spark.drivers import Driver, assert_nothing_left, driver, model, running, wait_for
from spark.test_faults_restart import executors, slot_agents

FAULTS, SEED = int(os.environ.get("SOAK_FAULTS", "200")), int(os.environ.get("SOAK_SEED", "1"))
#: Out of 40 faults; the rest are kills of roles, which heal in place.
RARE = {"executor": 1, "task": 1, "agent": 2, "stop": 3}
# an executor that was killed comes back however often
MASTER = "local-cluster[2,1,1024] --conf spark.deploy.maxExecutorRetries=-1"
STEPS_PER_EPOCH, STEPS_PER_FAULT, SLOW_S = 12, 24, 0.05
HEAL_S = 300.0
EVERY = max(1, FAULTS // 20)


@dataclass(frozen=True)
class Fault:
    """What is done to whom, so many seconds after the roles are there, or after the attempt has got on (`late`)."""

    deed: str
    victim: int
    after_s: float
    late: bool


def schedule(count: int, seed: int) -> list[Fault]:
    """Return faults of all kinds in random order at random moments: at the start of an attempt, and well within it."""
    rng = random.Random(seed)
    deeds = [deed for deed, often in RARE.items() for _ in range(often)]
    deeds += ["kill"] * (40 - len(deeds))
    return [Fault(rng.choice(deeds), rng.randrange(5), rng.uniform(0.0, 0.5), rng.random() < 0.6) for _ in range(count)]


def victim_of(run: Driver, fault: Fault) -> Optional[psutil.Process]:
    """Return the process a fault is for, None if it is not there at the moment."""
    with contextlib.suppress(psutil.Error, LookupError):
        if fault.deed in ("kill", "stop"):
            return psutil.Process(sorted(run.roles().items())[fault.victim][1])
        agents = slot_agents(run)
        if fault.deed == "executor":
            return executors(run)[fault.victim % 2]
        agent = agents[fault.victim % 2]
        return agent if fault.deed == "agent" else agent.parent()
    return None


def attempts(run: Driver) -> int:
    """Return how many attempts have failed, by what the driver says."""
    return run.log.count(" failed at step ")


def leaks(run: Driver) -> dict[str, int]:
    """Return what the driver holds."""
    process = psutil.Process(run.popen.pid)
    files = sum(path.is_file() and path.suffix != ".log" for path in (run.folder / "tmp").rglob("*"))
    sockets = sum(path.exists() for path in run.sockets)
    rss = process.memory_info().rss // 2**20
    return {"fds": process.num_fds(), "threads": process.num_threads(), "MiB": rss, "files": files, "sockets": sockets}


def newest(run: Driver) -> str:
    """Return the name of the newest checkpoint."""
    return max((path.name for path in (run.folder / "job/checkpoints").glob("s*-t*")), default="")


def do(run: Driver, fault: Fault) -> None:
    """Wait for a whole gang, do what the fault says, and see that the run noticed."""
    kept = newest(run)
    wait_for("five roles", lambda: run.popen.poll() is not None or len(run.roles()) == 5, HEAL_S)
    assert run.popen.poll() is None, f"the run ended early:\n{run.log[-3000:]}"
    if fault.late:
        wait_for("a checkpoint", lambda: run.popen.poll() is not None or newest(run) > kept, HEAL_S)
    time.sleep(fault.after_s)  # the moment is part of the schedule
    before = attempts(run)
    victim = wait_for("a victim", lambda: victim_of(run, fault), HEAL_S)
    assert running(victim.pid)
    victim.send_signal(signal.SIGSTOP if fault.deed == "stop" else signal.SIGKILL)
    wait_for(f"the failure after {fault}", lambda: run.popen.poll() is not None or attempts(run) > before, HEAL_S)


@pytest.mark.long
def test_many_faults_change_nothing_and_leave_nothing(tmp_path: Path) -> None:
    steps = FAULTS * STEPS_PER_FAULT
    epochs = -(-steps // STEPS_PER_EPOCH)
    sections: dict[str, Any] = {
        "training": {"epochs": epochs, "metrics": ["spark.gates:slow"]},
        "checkpoint": {"every_steps": 5, "every_epochs": 1, "keep": 2},
        "report": {"progress": "lines", "every_s": 3600.0},
    }
    (tmp_path / "whole").mkdir()
    with driver(tmp_path / "whole", "none", cluster={"environment": {"SLOW_S": "0"}}, **sections) as run:
        assert run.popen.wait(1200) == 0, run.log
    (tmp_path / "soak").mkdir()
    failure = {"start_s": 20.0, "hang_s": 5.0, "lease_s": 5.0, "max_restarts": 20, "backoff_s": 0.1}
    samples = []
    with driver(
        tmp_path / "soak", "none", MASTER, cluster={"environment": {"SLOW_S": str(SLOW_S)}}, failure=failure, **sections
    ) as run:
        for number, fault in enumerate(schedule(FAULTS, SEED)):
            try:
                do(run, fault)
            except AssertionError as error:
                raise AssertionError(f"fault {number}, {fault}: {error}\n{run.log[-8000:]}") from error
            if number % EVERY == EVERY - 1:
                samples.append(leaks(run))
                print(number + 1, samples[-1], flush=True)
        family = run.family()
        assert run.popen.wait(2400) == 0, run.log[-3000:]
        assert_nothing_left(run, family, sockets=None)
    outcome = run.outcome()
    assert (outcome["status"], outcome["steps"]) == ("succeeded", epochs * STEPS_PER_EPOCH)
    assert model(tmp_path / "soak") == model(tmp_path / "whole"), "bit for bit"
    assert FAULTS <= len(outcome["attempts"]) <= 2 * FAULTS
    down = sorted(attempt["down_s"] for attempt in outcome["attempts"] if attempt["down_s"] is not None)
    print(json.dumps({"attempts": len(outcome["attempts"]), "median_down_s": down[len(down) // 2], "max": down[-1]}))
    for name in ("fds", "threads", "files", "sockets"):
        assert samples[-1][name] <= samples[1][name] + 3, (name, samples)
    assert samples[-1]["MiB"] <= samples[1]["MiB"] * 1.2 + 20
