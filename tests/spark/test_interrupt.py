"""Ctrl-C in a script, in the pyspark shell and in Jupyter: the run stops, nothing is left, the session stays usable."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from leftovers import roles_alive
from spark.drivers import LIMIT_S, ROOT, TESTS, Driver, assert_nothing_left, driver, model, wait_for
from spark.jobs import train

CELL = """
from pathlib import Path
from spark.jobs import train
train(Path({folder!r}), training={{"network": "spark.gates:network", "metrics": ["spark.gates:gate"]}},
      cluster={{"environment": {{"GATE_FOLDER": {gates!r}, "GATE_MOMENT": "middle"}}}})
"""
AFTER = "print('still', spark.range(100).count() * 7)"


@pytest.mark.parametrize(("moment", "stop"), [("start", signal.SIGINT), ("middle", signal.SIGTERM)])
def test_a_script(tmp_path: Path, moment: str, stop: signal.Signals) -> None:
    # where workers stand still there can be no last checkpoint: the time for it runs out
    with driver(tmp_path, moment, failure={"grace_s": 2.0}) as run:
        run.reached()
        family = run.family()
        os.kill(run.popen.pid, stop)
        assert run.popen.wait(LIMIT_S) == (130 if stop == signal.SIGINT else 143), run.log
        assert_nothing_left(run, family)
    assert run.outcome()["status"] == ("interrupted" if stop == signal.SIGINT else "terminated")
    assert f"{'Ctrl-C' if stop == signal.SIGINT else 'SIGTERM'}" in run.outcome()["message"]
    assert "the same command resumes" in run.log and "Traceback" not in run.log


def is_starting(run: Driver, main: str) -> bool:
    """Whether a JVM is there whose main class, and no mere argument, is that."""
    for process in psutil.Process(run.popen.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            classes = [word for word in process.cmdline() if word.startswith("org.apache.spark.")]
            if process.name() == "java" and classes and classes[0].endswith(main):
                return True
    return False


@pytest.mark.parametrize("main", ["launcher.Main", "deploy.SparkSubmit"])
def test_an_interrupt_while_the_jvm_starts_leaves_none(tmp_path: Path, main: str) -> None:
    """pyspark does not know of it yet, and it would wait for ever."""
    with driver(tmp_path, "none") as run:
        wait_for("the JVM", lambda: is_starting(run, main))
        family = run.family()
        os.kill(run.popen.pid, signal.SIGINT)
        assert run.popen.wait(LIMIT_S) == 130, run.log
        assert_nothing_left(run, family, sockets=None)
    assert run.outcome()["status"] == "interrupted" and "Exception" not in run.log


def test_a_preempted_run_keeps_every_step_and_goes_on_to_the_same_bits(
    tmp_path: Path, undisturbed: tuple[bytes, dict[str, Any]]
) -> None:
    """SIGTERM in the middle of an epoch: a last checkpoint at a step all workers agree on, exit code 143, resume."""
    slow = {
        "training": {"metrics": ["spark.gates:slow"]},
        "report": {"progress": "lines", "every_s": 0.1},
        "failure": {"grace_s": 120.0},  # more than a last checkpoint takes on a busy machine
    }
    with driver(tmp_path, "none", cluster={"environment": {"SLOW_S": "0.5"}}, **slow) as run:
        wait_for("a step", lambda: re.search(r"step [3-9] of", run.log))
        family = run.family()
        os.kill(run.popen.pid, signal.SIGTERM)
        assert run.popen.wait(LIMIT_S) == 143, run.log
        assert_nothing_left(run, family, sockets=None)
    outcome = run.outcome()
    assert outcome["status"] == "terminated" and "SIGTERM; the same command resumes" in outcome["message"]
    assert 3 <= outcome["steps"] < 12 and outcome["checkpoint"].endswith(f"s{outcome['steps']:08d}-t000001")
    assert "making a last checkpoint" in run.log
    again = train(tmp_path / "job", training={"network": "spark.gates:network"})
    assert again.steps == undisturbed[1]["steps"] == 24
    assert model(tmp_path) == undisturbed[0]


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "dumb",
    }


def at_gate(gates: Path) -> None:
    wait_for("the gate", lambda: len(list(gates.glob("reached-*"))) == 2)


def test_the_pyspark_shell(tmp_path: Path, shell_environment: dict[str, str], nothing_left: None) -> None:
    pexpect = pytest.importorskip("pexpect")
    gates = tmp_path / "gates"
    gates.mkdir()
    cell = CELL.format(folder=str(tmp_path / "job"), gates=str(gates))
    (tmp_path / "cell.py").write_text(cell)
    command = [str(Path(sys.executable).parent / "pyspark"), "--master", "local[2]", "--conf", "spark.ui.enabled=false"]
    shell = pexpect.spawn(command[0], command[1:], env=shell_environment, timeout=LIMIT_S, encoding="utf-8", echo=False)
    try:
        shell.expect(">>> ")
        shell.sendline(f"exec(open({str(tmp_path / 'cell.py')!r}).read())")
        at_gate(gates)
        shell.sendintr()
        shell.expect(r"KeyboardInterrupt: Ctrl-C; the same command resumes (at step|from the start)")
        assert shell.before.count('  File "') <= 6, "where it came up inside us says nothing"
        shell.expect(">>> ")
        wait_for("the end of the roles", lambda: not roles_alive())
        shell.sendline(AFTER)
        shell.expect("still 700")
        shell.sendline("exit()")
        shell.expect(pexpect.EOF)
    finally:
        shell.close(force=True)


def test_jupyter(tmp_path: Path, shell_environment: dict[str, str], nothing_left: None) -> None:
    manager = pytest.importorskip("jupyter_client.manager")
    gates = tmp_path / "gates"
    gates.mkdir()
    kernel = manager.KernelManager(kernel_name="python3")
    kernel.start_kernel(env=shell_environment, cwd=str(tmp_path))
    client = kernel.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LIMIT_S)
        start = (
            "from pyspark.sql import SparkSession\n"
            "spark = SparkSession.builder.master('local[2]').config('spark.ui.enabled', 'false').getOrCreate()"
        )
        assert client.execute_interactive(start, timeout=LIMIT_S)["content"]["status"] == "ok"
        sent = client.execute(CELL.format(folder=str(tmp_path / "job"), gates=str(gates)))
        at_gate(gates)
        kernel.interrupt_kernel()
        reply = client.get_shell_msg(timeout=LIMIT_S)
        assert reply["parent_header"]["msg_id"] == sent
        assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
        assert reply["content"]["evalue"].startswith("Ctrl-C; the same command resumes"), reply["content"]
        wait_for("the end of the roles", lambda: not roles_alive())
        heard: list[str] = []
        reply = client.execute_interactive(
            AFTER, timeout=LIMIT_S, output_hook=lambda message: heard.append(message["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok" and "still 700" in "".join(heard)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
