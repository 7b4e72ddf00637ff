"""Processes that a role leaves are named in one short line each; Python's own helpers are not among them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mxspark.system import process_tree

TALKATIVE = "import sys, time\n# a second line \x1b[31m" + "x" * 200 + "\nprint(flush=True)\ntime.sleep(600)"
LEAVES = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {TALKATIVE!r}], stdout=subprocess.PIPE).stdout.readline()
"""
SHARES = """
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=10)
memory.close()
memory.unlink()
"""
TELLS = """
print(flush=True)
sys.stdin.readline()
"""


@contextmanager
def ended(code: str) -> Iterator[int]:
    """Give the pid of a process that ran `code`, alone in its group, and has ended but is not reaped."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys" + code + TELLS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True,
    ) as role:  # fmt: skip
        gone = os.pidfd_open(role.pid)
        try:
            assert role.stdin is not None and role.stdout is not None
            assert role.stdout.readline() == b"\n"
            role.stdin.close()
            assert select.select([gone], [], [], 30)[0]
            yield role.pid
        finally:
            os.killpg(role.pid, signal.SIGKILL)
            os.close(gone)


def test_what_is_left_is_named_in_a_short_line_of_its_own() -> None:
    with ended(LEAVES) as role:
        (name,) = process_tree.left_by(role)
    line, _, pid = name.partition(" (pid ")
    assert line.startswith("python") and " -c import sys, time # a second line" in line and "/" not in line
    assert len(line) == 80 and line.endswith("…") and line.isprintable()
    assert int(pid.rstrip(")")) > 0


def test_a_helper_of_python_that_is_about_to_end_is_not_left() -> None:
    """Five times: it needs a moment for it, and was named each time."""
    for _ in range(5):
        with ended(SHARES) as role:
            assert process_tree.left_by(role) == []
