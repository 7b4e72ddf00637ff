"""The janitor finds what dead runs left, all of it, and nothing of a run that lives."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from agent_group import AgentGroup, is_alive

from mxspark.cli import janitor
from mxspark.cli.main import main
from mxspark.protocol import events, specs
from mxspark.spark.run.timing import run_id
from mxspark.topology import placement

ORPHAN = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
time.sleep(600)
"""


def orphan(run: str) -> int:
    """Start a process of a run and let its parent die."""
    environment = {**os.environ, specs.RUN_TAG: run}
    done = subprocess.Popen([sys.executable, "-c", ORPHAN], env=environment, stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    pid = int(done.stdout.readline())
    done.wait(60)
    done.stdout.close()
    return pid


def old_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * 1000)
    for each in (path / "file", path):
        os.utime(each, (time.time() - 7200,) * 2)
    return path


def test_all_of_a_dead_run_goes_and_nothing_of_a_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead, living = run_id(), run_id()
    local = tmp_path / "local"
    pid = orphan(dead)
    path = Path("/tmp", str(placement.draw_sockets(1, lambda low, high: high - os.getpid())[0]))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        assert str(path) not in [left.name for left in janitor.find([str(local)])], "somebody listens"
    spool = old_folder(local / "spark-1" / f"mxspark-{dead}")
    scratch = old_folder(local / "mxspark-0123456789abcdef")
    others = [
        old_folder(local / f"mxspark-{living}"),
        old_folder(local / "mxspark-important-data"),
        old_folder(local / "mxspark-abcdefgh"),
    ]
    young = local / "mxspark-xyzdefgh"
    young.mkdir()
    with (
        AgentGroup(tmp_path / "group", environment={"FAKE_STEPS": "100000"}, run_id=living) as group,
        open(others[2] / "file") as _used,
    ):
        group.start()
        group.until_all(events.Started, 2)
        monkeypatch.setenv("SPARK_LOCAL_DIRS", str(local))
        assert is_alive(pid) and path.exists()
        assert main(["janitor"]) == 0
        listed = capsys.readouterr().out
        mine = {left.name for left in janitor.find([str(local)])}
        assert {str(pid), str(path), str(spool), str(scratch)} <= mine
        assert [str(other) for other in (*others, young) if str(other) in mine] == []
        assert not mine & {str(pid) for pid in group.tagged()} and not mine & set(group.sockets)
        assert all(name in listed for name in (str(pid), str(path), str(spool), str(scratch))) and is_alive(pid)
        ours = [
            left for left in janitor.find([str(local)]) if left.name in (str(pid), str(path), str(spool), str(scratch))
        ]
        assert janitor.remove(ours) == []
        assert not is_alive(pid) and not path.exists() and not spool.exists() and not scratch.exists()
        assert all(other.exists() for other in others)
        group.stop()
        group.end()
    for other in others:
        shutil.rmtree(other)
