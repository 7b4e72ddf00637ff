"""What a run may leave behind, found without asking the product."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def roles_alive() -> list[int]:
    """Return the pids of agents and roles that this test process is answerable for, by what the system says of them.

    Those are its descendants and the orphans; another test run beside this one is none of ours.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = process.cmdline()
            ours = any("mxspark.agent" in word for word in words) or "MXSPARK_RUN" in process.environ()
            lineage = [parent.pid for parent in process.parents()]
        except psutil.Error:
            continue
        if ours and (os.getpid() in lineage or lineage[:1] == [1]):
            found.append(process.pid)
    return found


def role_sockets() -> set[str]:
    """Return the ps-lite sockets in /tmp: plain numbers."""
    return {entry.name for entry in os.scandir("/tmp") if entry.name.isdigit()}


def dead_sockets() -> set[str]:
    """Return those that nobody listens on any more."""
    bound = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return {name for name in role_sockets() if f"/tmp/{name}" not in bound}
