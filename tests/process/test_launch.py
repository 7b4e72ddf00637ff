"""The launcher and what it owns, with a stand-in for spark-submit: signals, exit codes, nothing left running."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mxspark.errors.cause import Cause
from mxspark.launch.children import STOP_S, SparkSubmit
from mxspark.protocol import launcher

ROOT = Path(__file__).resolve().parents[2]

# what spark-submit is to its driver: a parent that dies of signals of its own, and that its output goes through
SPARK_SUBMIT = """#!/bin/bash
trap 'echo got TERM >> "$DIARY/submit"; exit 143' TERM
trap 'echo got INT >> "$DIARY/submit"; exit 130' INT
echo "$*" > "$DIARY/arguments"
"$PYSPARK_DRIVER_PYTHON" "$DIARY/driver.py" > "$DIARY/through-the-jvm" 2>&1 &
wait $!
code=$?
exit $code
"""
DRIVER = """
import os, pathlib, signal, subprocess, sys, time
from mxspark.protocol import launcher as launcher_line
from mxspark.errors.cause import Cause
diary = pathlib.Path(os.environ["DIARY"])
def tell(name, text):
    (diary / (name + ".new")).write_text(str(text)); (diary / (name + ".new")).rename(diary / name)
def register():
    launcher_line.take_terminal()
    launcher_line.write(launcher_line.DRIVER, os.getpid())
    launcher_line.write(launcher_line.LEASE, 1.0)
def end(code):
    launcher_line.write(launcher_line.EXIT, code); sys.exit(1 if code else 0)
def daemon():
    child = subprocess.Popen(["sleep", "100"], start_new_session=True); tell("daemon", child.pid)
def on(*signals):
    for number in signals:
        signal.signal(number, lambda n, _: (tell("signal", n), end(130)))
def stay():
    tell("ready", os.getpid()); time.sleep(100)
"""


class Launched:
    """A started ``submit.sh`` with the stand-in."""

    def __init__(self, folder: Path, driver: str, redirect: str = "", result: str = "result.json") -> None:
        self.folder = folder
        spark = folder / "spark"
        (spark / "bin").mkdir(parents=True)
        (spark / "jars").mkdir()
        spec = importlib.util.find_spec("pyspark")
        assert spec is not None and spec.submodule_search_locations
        core = next(Path(spec.submodule_search_locations[0]).glob("jars/spark-core_*.jar"))
        (spark / "jars" / core.name).touch()
        (spark / "bin/spark-submit").write_text(SPARK_SUBMIT)
        (spark / "bin/spark-submit").chmod(0o755)
        (folder / "driver.py").write_text(DRIVER + driver)
        (folder / "tmp").mkdir(exist_ok=True)
        environ = {
            **os.environ,
            "DIARY": str(folder),
            "JAVA_HOME": str(self._java()),
            "MXSPARK_ENVIRONMENT": sys.prefix,
            "SPARK_HOME": str(spark),
            "TMPDIR": str(folder / "tmp"),
        }
        command = [str(ROOT / "submit.sh"), "driver.py", "--config", "x.yaml", "--result", result]
        if redirect:  # by a shell that then becomes submit.sh
            command = ["bash", "-c", f'exec "$@" {redirect}', "bash", *command]
        with open(folder / "stderr", "w") as stderr, open(folder / "stdout", "w") as stdout:
            self.popen = subprocess.Popen(command, cwd=folder, env=environ, stdout=stdout, stderr=stderr)

    @property
    def stderr(self) -> str:
        """What the launcher said so far."""
        return (self.folder / "stderr").read_text()

    def _java(self) -> Path:
        """A Java that is only looked at."""
        home = self.folder / "java"
        (home / "bin").mkdir(parents=True)
        (home / "bin/java").touch(mode=0o755)
        (home / "release").write_text('JAVA_VERSION="17.0.1"\n')
        return home

    def said(self, name: str) -> str:
        """Wait for a line of the driver's."""
        path = self.folder / name
        wait_for(name, lambda: path.exists() or self.popen.poll() is not None)
        assert path.exists(), self.stderr
        return path.read_text()

    def ready(self) -> list[psutil.Process]:
        """Wait until the driver stands, and return all processes of this start, which then live."""
        self.said("ready")
        below = psutil.Process(self.popen.pid).children(recursive=True)
        assert below
        assert all(process.is_running() for process in below)
        return below

    def end(self, limit_s: float = 120.0) -> int:
        """Wait for the launcher and return its code."""
        try:
            return self.popen.wait(limit_s)
        finally:
            self.popen.kill()


def wait_for(what: str, condition: Callable[[], Any], limit_s: float = 120.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {limit_s:g} s"
        time.sleep(0.02)


def gone(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Start ``submit.sh`` with a driver's text; afterwards nothing of it runs and no file is left."""
    started: list[Launched] = []

    def start(driver: str, **options: str) -> Launched:
        started.append(Launched(tmp_path, driver, **options))
        return started[-1]

    yield start
    mark = f"DIARY={tmp_path}".encode()
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if mark in Path(f"/proc/{process.pid}/environ").read_bytes() and not gone(process):
                left.append(process)
    for process in left:
        process.kill()
    assert not left, "processes were left behind"
    assert not list((tmp_path / "tmp").iterdir()), "files were left behind"


@pytest.mark.parametrize(
    ("driver", "code"),
    [
        ("end(3)", 3),
        ("end(0)", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(1)", 1),
        ("os.kill(os.getppid(), signal.SIGKILL)", 4),
    ],
)
def test_the_exit_code_is_the_drivers(launch: Callable[..., Launched], driver: str, code: int) -> None:
    started = launch(driver)
    assert started.end() == code
    assert started.said("arguments").endswith("driver.py --config x.yaml --result result.json\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_driver_alone(launch: Callable[..., Launched], number: signal.Signals) -> None:
    started = launch("register(); on(signal.SIGINT, signal.SIGTERM); stay()")
    started.ready()
    started.popen.send_signal(number)
    assert started.end() == 130
    assert int(started.said("signal")) == number
    assert not (started.folder / "submit").exists(), "spark-submit was signalled too"
    assert "mxspark: stopping" in started.stderr


def test_before_there_is_a_driver_everything_is_told_to_end(launch: Callable[..., Launched]) -> None:
    started = launch("stay()")
    started.ready()
    started.popen.send_signal(signal.SIGINT)
    assert started.end() == 130


def test_one_signal_that_comes_twice_is_one(launch: Callable[..., Launched]) -> None:
    started = launch("register(); on(signal.SIGTERM); stay()")
    started.ready()
    started.popen.send_signal(signal.SIGTERM)
    started.popen.send_signal(signal.SIGTERM)
    assert started.end() == 130
    assert int(started.said("signal")) == signal.SIGTERM


def test_a_second_signal_kills_what_ignores_the_first(launch: Callable[..., Launched]) -> None:
    started = launch("register(); daemon(); signal.signal(signal.SIGINT, lambda *_: tell('deaf', 1)); stay()")
    below = started.ready()
    assert len(below) == 3
    started.popen.send_signal(signal.SIGINT)
    started.said("deaf")
    first = time.monotonic()
    while started.popen.poll() is None and time.monotonic() < first + 60:
        started.popen.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.popen.wait(0.1)
    assert started.end() == 130
    assert time.monotonic() - first > 0.9, "the second signal counts a second after the first"
    assert all(gone(process) for process in below)


def test_what_a_finished_driver_leaves_is_ended(launch: Callable[..., Launched]) -> None:
    started = launch("daemon(); end(0)")
    daemon = int(started.said("daemon"))
    assert started.end() == 0
    assert not psutil.pid_exists(daemon)


def test_a_killed_launcher_takes_spark_submit_with_it(launch: Callable[..., Launched]) -> None:
    started = launch("register(); stay()")
    below = started.ready()
    spark_submit, driver = below[0], psutil.Process(int(started.said("ready")))
    started.popen.kill()
    assert started.end() == -signal.SIGKILL
    wait_for("the end of spark-submit", lambda: gone(spark_submit))
    assert started.said("submit") == "got TERM\n"
    driver.kill()  # the stand-in does not watch its parent
    wait_for("the end of the driver", lambda: gone(driver))
    for left in (started.folder / "tmp").iterdir():
        shutil.rmtree(left)


def test_folders_of_killed_starts_go_and_those_in_use_stay(launch: Callable[..., Launched], tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    names = {"old": 1.0, "held": 1.0, "young": time.time()}
    for name, when in names.items():
        folder = tmp_path / f"tmp/mxspark-start-{name}"
        folder.mkdir()
        os.utime(folder, (when, when))
    held = os.open(tmp_path / "tmp/mxspark-start-held", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert launch("end(0)").end() == 0
    left = sorted((tmp_path / "tmp").iterdir())
    for folder in left:
        folder.rmdir()
    os.close(held)
    assert [folder.name for folder in left] == ["mxspark-start-held", "mxspark-start-young"]


def test_a_spark_of_another_series_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mxspark.launch", "driver.py"]
    (tmp_path / "driver.py").touch()
    (tmp_path / "spark/jars").mkdir(parents=True)
    (tmp_path / "spark/jars/spark-core_2.12-3.3.1.jar").touch()
    environ = {**os.environ, "SPARK_HOME": str(tmp_path / "spark"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "is Spark 3.3.1, but our pyspark (" in done.stderr
    assert done.stderr.endswith("; unset SPARK_HOME\n"), "there is no environment for that series"


def test_a_driver_may_take_its_time_for_a_last_checkpoint_but_after_ctrl_c(tmp_path: Path) -> None:
    for grace in ("25\n", ""):
        (tmp_path / launcher.GRACE).write_text(grace)
        given = 25.0 if grace else 0.0
        # of a terminal that is closed the driver is told as of a SIGTERM
        for number, seconds in ((signal.SIGINT, 0.0), (signal.SIGTERM, given), (signal.SIGHUP, given)):
            owner = SparkSubmit([], {})
            owner._stop(number, tmp_path)
            assert owner._deadline - owner._signalled == STOP_S + seconds


# -- what the driver cannot say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (
            "register(); os.kill(os.getpid(), signal.SIGKILL)",
            r"failed: the driver on \S+ \(pid {}\): killed by SIGKILL",
        ),
        ("register(); sys.exit(7)", r"failed: the driver on \S+ \(pid {}\): ended with exit code 7"),
        (
            "register(); os.kill(os.getppid(), signal.SIGKILL)",
            r"failed: the driver's JVM on \S+ \(pid \d+\): killed by",
        ),
    ],
)
def test_a_driver_that_ends_without_a_word_is_named(launch: Callable[..., Launched], driver: str, words: str) -> None:
    started = launch("tell('pid', os.getpid()); " + driver)
    assert started.end() == 4
    assert re.search(words.format(started.said("pid")), started.stderr)
    assert "next  start the same command again: it goes on from the newest checkpoint" in started.stderr
    outcome = json.loads((started.folder / "result.json").read_text())
    assert (outcome["status"], outcome["cause"]["kind"]) == ("failed", "killed")


@pytest.mark.parametrize("who", ["driver", "jvm"])
def test_a_driver_or_a_jvm_that_is_stopped_is_named_and_ended(launch: Callable[..., Launched], who: str) -> None:
    started = launch("register(); daemon(); stay()")
    below = started.ready()
    assert len(below) == 3
    victim = int(started.said("ready")) if who == "driver" else below[0].pid
    os.kill(victim, signal.SIGSTOP)
    assert started.end() == 4
    assert all(gone(process) for process in below)
    named = "the driver" if who == "driver" else "the driver's JVM"
    assert re.search(rf"failed: {named} on \S+ \(pid {victim}\): stopped by a signal for \d+ s", started.stderr)
    assert "failure.lease_s = 1 s" in started.stderr
    outcome = json.loads((started.folder / "result.json").read_text())
    assert (outcome["cause"]["kind"], outcome["cause"]["role"], outcome["cause"]["pid"]) == ("stopped", who, victim)


def test_a_driver_that_is_stopped_for_a_moment_goes_on(launch: Callable[..., Launched]) -> None:
    started = launch("register(); tell('ready', os.getpid()); open(diary / 'go').read(); end(5)")
    os.mkfifo(started.folder / "go")
    driver = int(started.said("ready"))
    os.kill(driver, signal.SIGSTOP)
    wait_for("the stop", lambda: psutil.Process(driver).status() == psutil.STATUS_STOPPED)
    os.kill(driver, signal.SIGCONT)
    (started.folder / "go").write_text("")
    assert started.end() == 5 and "failed" not in started.stderr


def test_the_driver_writes_to_the_terminal_of_the_launcher(launch: Callable[..., Launched]) -> None:
    """Also when the JVM between them stands still; and its two streams stay two."""
    program = "os.kill(os.getppid(), signal.SIGSTOP); register(); print('out'); print('err', file=sys.stderr); "
    started = launch(program + "sys.stdout.flush(); os.kill(os.getppid(), signal.SIGCONT); end(0)")
    assert started.end() == 0
    assert (started.stderr, (started.folder / "stdout").read_text()) == ("err\n", "out\n")


def test_a_signal_before_there_is_a_driver_is_told(launch: Callable[..., Launched]) -> None:
    started = launch("stay()")
    started.ready()
    started.popen.send_signal(signal.SIGTERM)
    assert started.end() == 143
    assert "stopping; a second SIGTERM kills" in started.stderr
    assert "terminated: SIGTERM before the run had begun" in started.stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("sys.exit(7)", 7),
        ("raise LookupError('none of ours')", 1),
        ("import mxspark; mxspark.train; raise mxspark.TrainingCodeError('ours')", 3),
        ("import mxspark; mxspark.JobConfig.from_dict({})", 2),
        ("import mxspark; mxspark.train; raise LookupError('none of ours')", 1),
    ],
)
def test_a_script_of_the_users_ends_as_any_program_does(
    launch: Callable[..., Launched], script: str, code: int
) -> None:
    """And with the code of an error of ours that it does not catch."""
    started = launch(script)
    assert started.end() == code, started.stderr
    assert "failed: the driver" not in started.stderr


def test_a_result_that_cannot_be_written_is_told_before_spark_submit(launch: Callable[..., Launched]) -> None:
    started = launch("end(0)", result="none/result.json")
    assert started.end() == 2
    assert "--result none/result.json: there is no folder" in started.stderr
    assert not (started.folder / "arguments").exists(), "spark-submit was started"


def test_a_signal_wins_over_a_driver_that_was_stopped(tmp_path: Path) -> None:
    owner = SparkSubmit([], {})
    owner.signal, owner.cause = signal.SIGTERM, Cause("stopped", "driver", 0, "here", 7, "it was stopped")
    assert (owner._code(7, signal.SIGKILL, tmp_path), owner.cause) == (143, None)


def test_what_reads_the_output_is_left_alone(launch: Callable[..., Launched]) -> None:
    """``2> >(tee log)`` makes tee a child of what was the shell and is the launcher now."""
    started = launch("register(); sys.exit(7)", redirect='2> >(cat >> "$DIARY/read"; echo done >> "$DIARY/read")')
    assert started.end() == 4
    wait_for("the end of the reader", lambda: "done" in started.said("read"))
    assert "failed: the driver on " in started.said("read")


def test_a_launcher_that_was_stopped_goes_on(launch: Callable[..., Launched]) -> None:
    """Ctrl-Z and fg: CPython's sigtimedwait then returns a signal that does not exist."""
    started = launch("register(); tell('ready', os.getpid()); open(diary / 'go').read(); end(5)")
    os.mkfifo(started.folder / "go")
    started.said("ready")
    for _ in range(2):
        os.kill(started.popen.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        wait_for("the end of the launcher's own wait", lambda since=stopped: time.monotonic() > since + 1.2)
        os.kill(started.popen.pid, signal.SIGCONT)
        wait_for("its going on", lambda: psutil.Process(started.popen.pid).status() == psutil.STATUS_SLEEPING)
    (started.folder / "go").write_text("")
    assert started.end() == 5, started.stderr


def test_help_of_our_scripts_needs_no_jvm(tmp_path: Path) -> None:
    home = tmp_path / "spark"
    (home / "jars").mkdir(parents=True)
    environ = {**os.environ, "SPARK_HOME": str(home)}  # there is nothing in it that could be started
    command = [sys.executable, "-m", "mxspark.launch", str(ROOT / "spark_jobs/train.py"), "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "--config FILE" in done.stdout
