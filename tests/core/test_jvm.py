"""What is said of a JVM that has ended, by what it has ended with; a process of Python's stands in for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest
from py4j.protocol import Py4JNetworkError

from mxspark.errors import ClusterError
from mxspark.protocol import launcher
from mxspark.spark.session.jvm import Jvm
from mxspark.spark.spool import batches

SETTINGS = {batches.READER: "4096", batches.PYTHON: "10000"}
Process = subprocess.Popen[bytes]
Ended = Callable[[str], Process]


def session(process: Optional[Process] = None, is_ours: bool = True) -> Any:
    """Return what stands in for a session whose JVM is a process, started by this one or by spark-submit."""
    handle = SimpleNamespace(pid=lambda: process.pid if process is not None else 0)
    java = SimpleNamespace(lang=SimpleNamespace(ProcessHandle=SimpleNamespace(current=lambda: handle)))
    context = SimpleNamespace(
        _gateway=SimpleNamespace(proc=process) if is_ours else SimpleNamespace(),
        master="local[2]",
        getConf=lambda: {"spark.driver.memory": "600m"},
    )
    return SimpleNamespace(_jvm=SimpleNamespace(java=java), sparkContext=context, conf=SETTINGS)


def told(jvm: Jvm, work: str = "") -> ClusterError:
    """Return what becomes of a call that fails because the JVM is gone, at some work."""
    with pytest.raises(ClusterError) as caught, jvm.explaining_errors(), jvm.at_work(work):
        raise Py4JNetworkError("Error while sending or receiving")
    return caught.value


@pytest.fixture
def ended() -> Iterator[Ended]:
    """Return what starts a process and waits until it is a zombie, as a JVM is when its last words have come."""
    started: list[Process] = []

    def start(code: str) -> Process:
        started.append(subprocess.Popen([sys.executable, "-c", f"import os, signal; {code}"]))
        os.waitid(os.P_PID, started[-1].pid, os.WEXITED | os.WNOWAIT)
        return started[-1]

    yield start
    for process in started:
        process.wait()


def test_a_full_heap_is_named_with_what_filled_it_and_the_settings(ended: Ended) -> None:
    process = ended("os._exit(52)")
    spark = session(process)
    jvm = Jvm(spark, 30.0)
    error = told(jvm, batches.described(spark))
    for words in (
        "its heap was full (java.lang.OutOfMemoryError) while rows were read 4096 at a time (spark.sql.parquet.",
        "columnarReaderBatchSize), however wide they are, and given to Python at most 10000 at a time (spark.sql.exec",
        "spark.driver.memory = 600m; give it more heap (spark.driver.memory where the master is local, else spark.exec",
    ):
        assert words in str(error)
    assert error.cause is not None
    assert (error.cause.kind, error.cause.exit_code, error.cause.pid) == ("heap", 52, process.pid)


@pytest.mark.parametrize(
    ("code", "words", "name"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "it is gone: killed by SIGKILL (another process, or the kernel",
            "SIGKILL",
        ),
        ("os._exit(1)", "it is gone: ended with exit code 1", None),
    ],
)
def test_another_end_is_told_as_it_was(ended: Ended, code: str, words: str, name: Optional[str]) -> None:
    error = told(Jvm(session(ended(code)), 30.0))
    assert words in str(error) and error.cause is not None
    assert (error.cause.kind, error.cause.signal) == ("killed", name)


def test_the_launcher_tells_how_a_jvm_has_ended_that_it_has_started(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(launcher.VARIABLE, launcher.variable(os.getpid(), tmp_path))
    launcher.leave_jvm_code(tmp_path, 52)
    error = told(Jvm(session(ended("os._exit(0)"), is_ours=False), 30.0))
    assert "its heap was full (java.lang.OutOfMemoryError); give it more heap" in str(error)
    launcher.leave_jvm_code(tmp_path, -signal.SIGTERM)
    assert launcher.jvm_code() == -signal.SIGTERM


def test_nobody_may_know(ended: Ended) -> None:
    error = told(Jvm(session(ended("os._exit(0)"), is_ours=False), 30.0))
    assert "it is gone: another process has ended it, or the kernel when memory ran out" in str(error)


STACK = """org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 failed 1 times, most recent:
java.lang.RuntimeException: Cannot reserve additional contiguous bytes in the vectorized reader
Caused by: java.lang.OutOfMemoryError: Java heap space
\tat org.apache.spark.sql.execution.vectorized.OnHeapColumnVector.reserveInternal(OnHeapColumnVector.java:629)"""


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (STACK, batches.READER),
        (
            "java.lang.OutOfMemoryError: x\n\tat org.apache.arrow.vector.BaseFixedWidthVector.reAlloc(B.java:1)",
            batches.PYTHON,
        ),
        (
            "ExecutorLostFailure (executor 1 exited caused by a running task) Reason: Command exited with code 52",
            "",
        ),
        ("Container from a bad node: container_1 on host: h. Exit status: 52. Diagnostics: [...]", ""),
    ],
)
def test_a_task_or_an_executor_that_ran_out_of_heap_is_told_so(text: str, asked: str) -> None:
    error = batches.out_of_heap(session(), text)
    assert error is not None and error.cause is not None and error.cause.kind == "heap"
    assert "a JVM of Spark's ran out of heap (java.lang.OutOfMemoryError) while rows were read 4096 at a time" in str(
        error
    )
    assert (f"; what asked for more was {asked}" in str(error)) if asked else "what asked" not in str(error)


def test_other_ends_of_executors_are_none_of_a_heap() -> None:
    for text in ("Container killed on request. Exit code is 137", "Command exited with code 1", "exit status: 521"):
        assert batches.out_of_heap(session(), text) is None
