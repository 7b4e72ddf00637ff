"""What a run may leave behind, found without asking the product."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def roles_alive() -> list[int]:
    """Return the pids of the agents and roles of this test run, by what the system says of them.

    Agents and roles keep TMPDIR, and conftest.py gives each test run one of its own.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = process.cmdline()
            environment = process.environ()
        except psutil.Error:
            continue
        ours = environment.get("TMPDIR") == os.environ["TMPDIR"]
        if ours and ("MXSPARK_RUN" in environment or any("mxspark.agent" in word for word in words)):
            found.append(process.pid)
    return found


def role_sockets() -> set[str]:
    """Return the ps-lite sockets in /tmp: plain numbers."""
    return {entry.name for entry in os.scandir("/tmp") if entry.name.isdigit()}


def dead_sockets() -> set[str]:
    """Return those that nobody listens on any more."""
    bound = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return {name for name in role_sockets() if f"/tmp/{name}" not in bound}
