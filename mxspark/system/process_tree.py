"""Processes that are not roles of ours: what roles have started, what outlived them, and how it is found and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable

from mxspark.system import procfs
from mxspark.system.procfs import command_line, table

HELPERS = ("resource_tracker", "multiprocessing.forkserver")
"""Of Python's own, in a command line: they end by themselves, a moment after who has started them."""


def kill_children(but: set[int], seconds: float) -> list[int]:
    """Kill and reap every child that is not in `but` (orphans we adopted), and theirs; return who is left."""
    deadline = time.monotonic() + seconds
    while True:
        left = [entry.pid for entry in table() if entry.parent == os.getpid() and entry.pid not in but]
        if not left or time.monotonic() > deadline:
            return left
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            _reap(pid, deadline)


def _reap(pid: int, deadline: float) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.002)


def left_by(role: int) -> list[str]:
    """Name the living processes of a role's group but the role itself."""
    return _names(entry.pid for entry in table() if entry.group == role and entry.pid != role and entry.is_alive)


def adopted(but: set[int]) -> list[str]:
    """Name the living children of this process that are not in `but`: what dead roles left in sessions of their own."""
    mine = os.getpid()
    return _names(entry.pid for entry in table() if entry.parent == mine and entry.pid not in but and entry.is_alive)


def _names(pids: Iterable[int]) -> list[str]:
    lines = {pid: command_line(pid) for pid in pids}
    return [f"{line} (pid {pid})" for pid, line in lines.items() if not any(helper in line for helper in HELPERS)]


def kill_agent(pid: int) -> None:
    """Kill a process if it is an agent of this user; its roles die with it."""
    if any("mxspark.agent" in word for word in procfs.arguments(pid)):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def kill_tagged(variable: str, value: str, but: set[int], seconds: float) -> set[int]:
    """Kill every process of ours that was started with ``variable=value``, and see them go; return who was killed."""
    deadline = time.monotonic() + seconds
    killed: set[int] = set()
    while True:
        # one that is dead but not reaped has no environment any more
        found = {pid for pid in procfs.pids() if procfs.environment(pid).get(variable) == value} - but
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        if not found or time.monotonic() > deadline:
            return killed
        time.sleep(0.002)
