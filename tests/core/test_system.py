"""What the kernel says of processes, read in one place."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mxspark
from mxspark.system import files, prctl, procfs, threads

PACKAGE = Path(mxspark.__file__).parent
SLEEP = "import time; time.sleep(60)"
# Paths below /proc that say nothing of a process.
OTHER = ("/proc/sys/", "/proc/self/")


def test_a_line_of_the_table_holds_whatever_a_process_calls_itself(tmp_path: Path) -> None:
    program = tmp_path / "a) (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], start_new_session=True) as child:
        try:
            deadline = time.monotonic() + 120
            while (found := procfs.entry(child.pid)) is None or found.name != program.name:
                assert time.monotonic() < deadline, found
            while not procfs.arguments(child.pid):  # which come after the name
                assert time.monotonic() < deadline, found
            assert (found.parent, found.group, found.session) == (os.getpid(), child.pid, child.pid)
            assert found.is_alive and child.pid in procfs.pids()
            assert (child.pid, program.name) in [(line.pid, line.name) for line in procfs.table()]
            assert procfs.arguments(child.pid) == [str(program), "60"]
            assert procfs.owner(child.pid) == os.getuid()
        finally:
            child.kill()
    assert procfs.entry(child.pid) is None and procfs.state(child.pid) == "" and procfs.arguments(child.pid) == []
    assert procfs.environment(child.pid) == {} and procfs.threads(child.pid) == [] and procfs.owner(child.pid) is None


def test_the_first_environment_of_a_process_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], env={"A": "b=c\n", "EMPTY": ""}) as child:
        try:
            deadline = time.monotonic() + 120
            while (found := procfs.environment(child.pid)) != {"A": "b=c\n", "EMPTY": ""}:
                assert time.monotonic() < deadline, found
        finally:
            child.kill()


def test_threads_are_named_with_what_they_do() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert os.getpid() in [
            line.pid for line in procfs.threads(os.getpid())
        ]  # not the first: ids begin anew one day
        lines = list(threads.threads(os.getpid()))
        assert any(line.startswith(f"thread {thread.native_id} ") for line in lines), lines
        assert procfs.thread_count(os.getuid()) >= 2
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_is_bound_to_its_parent_dies_with_it(by: signal.Signals) -> None:
    code = (
        "import os, signal, subprocess, sys; from mxspark.system import prctl; me = os.getpid(); "
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], "
        f"preexec_fn=lambda: prctl.die_with(me, by=signal.{by.name})); print(child.pid, flush=True); "
        "os.kill(me, signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    deadline = time.monotonic() + 120
    while procfs.is_alive(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_whose_parent_is_gone_before_it_is_bound_ends_itself() -> None:
    with subprocess.Popen(["sleep", "60"], preexec_fn=lambda: prctl.die_with(os.getpid())) as child:
        assert child.wait(120) == 255


def test_a_file_is_hashed_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (2**20 + 1))
    found = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert files.sha256_of(path) == found


def test_processes_are_looked_at_in_one_place() -> None:
    """Other modules ask `system.procfs` and `system.prctl`; two spellings of one file of the kernel drift apart."""
    for path in PACKAGE.rglob("*.py"):
        place = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/proc"):
                assert place.startswith("system/") or node.value.startswith(OTHER), f"{place}:{node.lineno}"
            if isinstance(node, ast.Attribute) and node.attr == "prctl":
                assert place == "system/prctl.py", f"{place}:{node.lineno}"
