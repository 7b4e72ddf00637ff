"""What a run may leave behind, found without asking the product, and without taking other runs' for it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SETTLE_S, SOCKETS_GONE_S = 5.0, 30.0


def end_all(folder: str) -> list[str]:
    """Kill every process whose TMPDIR is `folder` or below it, but this one, and return their command lines.

    Of a test run that was interrupted: nobody else is left who could. What is about to end by itself may do so.
    """
    left = _below(folder)
    _, alive = psutil.wait_procs(left, timeout=SETTLE_S)
    ended = []
    for process in alive:
        with contextlib.suppress(psutil.Error):
            ended.append(" ".join(process.cmdline())[-200:])
            process.kill()
    return ended


def _below(folder: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            below = f"{process.environ().get('TMPDIR', '')}/".startswith(f"{folder}/")
            if below and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def processes() -> Iterator[tuple[int, list[str], dict[str, str]]]:
    """Yield pid, command line and environment of the live processes that this test run has started.

    They keep TMPDIR, and conftest.py gives each test run, and each of its workers, one of its own.
    """
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            words, environment = process.cmdline(), process.environ()
        except psutil.Error:
            continue
        if environment.get("TMPDIR") == os.environ["TMPDIR"]:
            yield process.pid, words, environment


def roles_alive() -> list[int]:
    """Return the pids of the agents, links and roles of this test run, by what the system says of them."""
    return [
        pid
        for pid, words, environment in processes()
        if "MXSPARK_RUN" in environment or any("mxspark.agent" in word or "mxspark.link" in word for word in words)
    ]


def role_sockets() -> set[str]:
    """Return the ps-lite sockets in /tmp: plain numbers."""
    return {entry.name for entry in os.scandir("/tmp") if entry.name.isdigit()}


def dead_sockets() -> set[str]:
    """Return those that nobody listens on any more."""
    bound = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return {name for name in role_sockets() if f"/tmp/{name}" not in bound}


def sockets_left(before: set[str]) -> set[str]:
    """Return what sockets stay dead that were not there `before`.

    Nothing tells whose a dead socket is. One of a test that runs beside this one is removed by its own run soon; what
    is still there after `SOCKETS_GONE_S` was left.
    """
    left = dead_sockets() - before
    deadline = time.monotonic() + SOCKETS_GONE_S
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left &= dead_sockets()
    return left
