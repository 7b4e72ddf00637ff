"""Runs of the command line that tests may disturb: as processes of their own, or inside the session of the tests.

A process of its own costs 17 s of processor time, a run in the session that is there a third of that. Only a test whose
victim is the driver or its JVM needs the former.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional, Protocol

import psutil
import pytest
import yaml
from leftovers import roles_alive
from pyspark import InheritableThread
from pyspark.sql import SparkSession

from mxspark.cli import main, train

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
#: Long enough for a machine with other work. That something was noticed, and not given up after a limit, is in
#: what the run says of it.
LIMIT_S = 600.0
#: Less than `failure.lease_s` and `failure.hang_s`: what is gone by then was ended by the end of what it hangs on.
GONE_S = 25.0
#: So often a run keeps what it has that a disturbed one goes on from the middle of an epoch.
OFTEN = {"every_steps": 4, "every_epochs": 1}


def wait_for(what: str, condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    """Return the first true value of `condition`, or fail saying what did not come."""
    deadline, pause_s = time.monotonic() + limit_s, 0.02
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, 0.1)  # whoever looks all the time takes the processor from what it waits for
    raise AssertionError(f"{what} did not happen within {limit_s:g} s")


def _command(program: Optional[str], submit: str, gates: Path) -> list[str]:
    """Return how ``train`` is started: as a plain command, by ``submit.sh``, or by a program of the tests."""
    if program == "submit.sh":
        return [str(ROOT / "submit.sh"), *shlex.split(submit), str(ROOT / "spark_jobs/train.py")]
    how = ["-m", "mxspark"] if program is None else [str(TESTS / "programs" / program), str(gates)]
    return [sys.executable, *how, "train"]


class Started(Protocol):
    """What there is to wait for."""

    def poll(self) -> Optional[int]:
        """Return the exit code, None while there is none."""

    def wait(self, timeout: float) -> int:
        """Return the exit code once it is there."""


class Run:
    """A started ``mxspark train`` and what it leaves.

    Attributes
    ----------
    popen : Started
        The process of the driver, or what stands for it.
    """

    popen: Started

    def __init__(self, folder: Path, moment: str, **sections: dict[str, Any]) -> None:
        from spark.jobs import digits

        self.folder, self.result_file = folder, folder / "result.json"
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.sockets: set[Path] = set()
        job = digits(folder / "job")
        job["training"] |= {"network": "spark.gates:network", "metrics": ["spark.gates:gate"]}
        job["cluster"]["environment"] = {"GATE_FOLDER": str(self.gates), "GATE_MOMENT": moment}
        job["failure"]["max_restarts"] = 0  # most tests are about how a failure is told
        for name, section in sections.items():
            old = job.get(name, {})
            job[name] = {**old, **section}
            if name == "cluster":
                job[name]["environment"] = {**old["environment"], **section.get("environment", {})}
        (folder / "job.yaml").write_text(yaml.safe_dump(job))
        self.arguments = ["--config", str(folder / "job.yaml"), "--result", str(self.result_file)]

    @property
    def log(self) -> str:
        return (self.folder / "driver.log").read_text()

    def reached(self, workers: int = 2) -> None:
        """Wait until every worker stands at the gate."""
        wait_for(
            "the gate", lambda: self.popen.poll() is not None or len(list(self.gates.glob("reached-*"))) == workers
        )
        assert self.popen.poll() is None, self.log

    def roles(self) -> dict[tuple[str, int], int]:
        """Return pids by (role, rank), from the processes' own words and environments; remember their sockets."""
        found = {}
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                role, _, rank = (process.cmdline() or [""])[-1].partition("-")
                if environment.get("GATE_FOLDER") == str(self.gates) and role in ("scheduler", "server", "worker"):
                    found[role, int(rank)] = process.pid
                    if "PORT" in environment:  # a worker that does not lead its host has none
                        self.sockets.add(Path("/tmp", environment["PORT"]))
            except psutil.Error:
                continue
        return found

    def family(self) -> set[int]:
        """Return every live process of this run."""
        raise NotImplementedError

    def files(self) -> set[Path]:
        """Return the private files that this run has at the moment, the spool among them."""
        raise NotImplementedError

    def outcome(self) -> dict[str, Any]:
        return dict(json.loads(self.result_file.read_text()))


class Driver(Run):
    """A run that is a process of its own."""

    popen: subprocess.Popen[bytes]

    def __init__(
        self, folder: Path, moment: str, master: str, program: Optional[str] = None, **sections: dict[str, Any]
    ) -> None:
        super().__init__(folder, moment, **sections)
        (folder / "tmp").mkdir()
        log = (folder / "driver.log").open("w")
        submit = f"--master {master} --conf spark.ui.enabled=false --conf spark.ui.showConsoleProgress=false"
        # executors of their own start as quickly as the driver's JVM
        submit += f" --conf 'spark.executor.extraJavaOptions={os.environ['SPARK_SUBMIT_OPTS']}'"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": f"{submit} pyspark-shell",
            "MXSPARK_ENVIRONMENT": sys.prefix,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(folder / "local"),
            "TMPDIR": str(folder / "tmp"),
        }
        command = [*_command(program, submit, self.gates), *self.arguments]
        self.popen = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        log.close()

    def family(self) -> set[int]:
        """Return the driver, what descends from it, and all roles and agents."""
        alive = {self.popen.pid, *self.roles().values()}
        with contextlib.suppress(psutil.NoSuchProcess):
            alive |= {child.pid for child in psutil.Process(self.popen.pid).children(recursive=True)}
        return {pid for pid in alive if running(pid)}

    def files(self) -> set[Path]:
        """Return what is in its own temporary folders."""
        return {*(self.folder / "tmp").glob("mxspark-*"), *(self.folder / "local").glob("*/mxspark-*")}


class Inside(Run):
    """A run in the Spark session of this process, in a thread: what is stopped or killed is not the driver."""

    def __init__(self, folder: Path, moment: str, **sections: dict[str, Any]) -> None:
        super().__init__(folder, moment, **sections)
        session = SparkSession.getActiveSession()
        assert session is not None, "the test has the fixture of the session"
        self.context = session.sparkContext
        self._local = Path(str(self.context.getConf().get("spark.local.dir")))
        self._processes, self._files = set(roles_alive()), self._all_files()
        self.popen = Call(["train", *self.arguments], folder / "driver.log")

    def family(self) -> set[int]:
        """Return all roles and agents; Spark's own processes are the session's."""
        return {*roles_alive(), *self.roles().values()} - self._processes

    def files(self) -> set[Path]:
        """Return what was not there before."""
        return self._all_files() - self._files

    def _all_files(self) -> set[Path]:
        return {*Path(os.environ["TMPDIR"]).glob("mxspark-*"), *self._local.glob("*/mxspark-*")}

    def end(self) -> None:
        """Let nothing of it go on, nor begin again."""
        if self.popen.poll() is None:
            self.context.cancelAllJobs()
        for pid in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        self.popen.wait(GONE_S)


class Call:
    """The command line at work in a thread of this process; its words go to a file."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._code: Future[int] = Future()
        InheritableThread(target=self._run, args=(arguments, log), daemon=True).start()

    def poll(self) -> Optional[int]:
        """Return the exit code, None while there is none."""
        return self._code.result() if self._code.done() else None

    def wait(self, timeout: float) -> int:
        """Return the exit code once it is there."""
        return self._code.result(timeout)

    def _run(self, arguments: list[str], log: Path) -> None:
        # only the main thread may have handlers of signals, and nobody sends any
        no_signals = SimpleNamespace(**{**vars(signal), "signal": lambda *_: None})
        root = logging.getLogger()
        try:
            with log.open("w") as words, pytest.MonkeyPatch.context() as patch:
                for owner, name, value in (
                    (sys, "stdout", words), (sys, "stderr", words), (sys, "path", list(sys.path)),
                    (root, "handlers", list(root.handlers)), (train, "signal", no_signals),
                ):  # fmt: skip
                    patch.setattr(owner, name, value)
                code = main.main(arguments)
            self._code.set_result(code)
        except BaseException as error:
            self._code.set_exception(error)


def model(folder: Path) -> bytes:
    """Return the trained parameters as MXNet wrote them."""
    return (folder / "job/model/model-0000.params").read_bytes()


def running(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_nothing_left(run: Run, family: set[int], sockets: Optional[int] = 4) -> None:
    wait_for("the end of every process", lambda: not [pid for pid in family if running(pid)], GONE_S)
    wait_for("the end of every role", lambda: not run.roles(), GONE_S)
    assert sockets is None or len(run.sockets) == sockets
    wait_for("the end of the sockets", lambda: not [path for path in run.sockets if path.exists()], GONE_S)
    wait_for("the end of the files", lambda: not run.files())


@contextmanager
def driver(
    folder: Path, moment: str, master: str = "local[2]", program: Optional[str] = None, **sections: dict[str, Any]
) -> Iterator[Driver]:
    """Start a driver, and end what is left of it whatever the test does."""
    started = Driver(folder, moment, master, program, **sections)
    family: set[int] = set()
    try:
        yield started
    finally:
        family = started.family()
        for pid in family:
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue
        started.popen.wait(60)


@contextmanager
def inside(folder: Path, moment: str, **sections: dict[str, Any]) -> Iterator[Inside]:
    """Start a run in the session of this process, and end what is left of it whatever the test does."""
    started = Inside(folder, moment, **sections)
    try:
        yield started
    finally:
        started.end()
