"""``submit.sh`` with a real spark-submit: a driver asleep in a Spark job is interrupted, and its launcher killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from spark.drivers import LIMIT_S

ROOT = Path(__file__).resolve().parents[2]

# the arrangement of a real driver: the job in its own thread, the main thread free for signals
DRIVER = """
import os, pathlib, signal, sys, threading, time
from pyspark import InheritableThread, SparkContext
from mxspark.protocol import launcher as launcher_line
launcher_line.take_terminal()
launcher_line.write(launcher_line.DRIVER, os.getpid())
launcher_line.write(launcher_line.LEASE, 2.0)
diary, done = pathlib.Path(sys.argv[1]), threading.Event()
sc = SparkContext.getOrCreate()
(diary / "settings").write_text(repr(dict(sc.getConf().getAll())))
def sleep(rows):
    (diary / f"task-{os.getpid()}").touch()
    time.sleep(100)
    return rows
def job():
    sc.setJobGroup("sleep", "sleep")
    try:
        sc.parallelize([1, 2], 2).mapPartitions(sleep).count()
    except Exception as error:
        (diary / "job").write_text(type(error).__name__)
    done.set()
InheritableThread(target=job, daemon=True).start()
try:
    while not done.wait(0.2):
        pass
except KeyboardInterrupt:
    sc.cancelJobGroup("sleep")
    (diary / "cancelled").write_text(str(done.wait(100)))
    sc.stop()
    launcher_line.write(launcher_line.EXIT, 130)
"""


def family(folder: Path) -> list[psutil.Process]:
    """Return every live process that was started with this folder in its environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marked = f"DIARY={folder}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(what: str, condition: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {limit_s:g} s"
        time.sleep(0.05)


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A start whose two tasks sleep."""
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "tmp").mkdir()
    environ = {
        **os.environ,
        "DIARY": str(tmp_path),
        "MXSPARK_ENVIRONMENT": sys.prefix,
        "TMPDIR": str(tmp_path / "tmp"),
    }
    command = [str(ROOT / "submit.sh"), "driver.py", str(tmp_path), "--set", "cluster.num_workers=3"]
    with (
        open(tmp_path / "log", "wb") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log) as popen,
    ):
        try:
            wait_for("two tasks", lambda: len(list(tmp_path.glob("task-*"))) == 2 or popen.poll() is not None)
            assert popen.poll() is None, (tmp_path / "log").read_text()
            yield popen
        finally:
            popen.kill()
            for process in family(tmp_path):
                process.kill()


def test_an_interrupt_cancels_the_job_and_leaves_nothing(launched: subprocess.Popen[bytes], tmp_path: Path) -> None:
    settings = (tmp_path / "settings").read_text()
    assert "'spark.dynamicAllocation.enabled': 'false'" in settings
    assert "'spark.driver.memory': '2g'" in settings
    assert f"'spark.master': 'local[{max(3, len(os.sched_getaffinity(0)))}]'" in settings
    assert len(family(tmp_path)) >= 6  # launcher, JVM, driver, pyspark.daemon, two workers
    launched.send_signal(signal.SIGINT)
    assert launched.wait(LIMIT_S) == 130
    assert (tmp_path / "cancelled").read_text() == "True"
    assert not family(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_killed_launcher_leaves_no_process(launched: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert len(family(tmp_path)) >= 6
    launched.kill()
    wait_for("the end of all processes", lambda: not family(tmp_path))
    assert (tmp_path / "job").read_text(), "the driver saw no error of its job"
