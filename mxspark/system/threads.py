"""Where the threads of a process stand: in the kernel, and in Python code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from mxspark.system import procfs

THREADS_SHOWN = 64
_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_FRAME = re.compile(r'^  File "([^"]+)", line (\d+) in (.+)$')
_THREAD = re.compile(r"^(Current thread|Thread) 0x")


def threads(pid: int) -> Iterator[str]:
    """Yield a line on each thread: its name, what it is doing and where it waits in the kernel."""
    found = procfs.threads(pid)
    for thread in found[:THREADS_SHOWN]:
        where = procfs.waits_in(pid, thread.pid) or "user space"
        yield f"thread {thread.pid} {thread.name}: state {thread.state}, in {where}"
    if len(found) > THREADS_SHOWN:
        yield f"and {len(found) - THREADS_SHOWN} threads more"


def user_frame(log: str) -> Optional[str]:
    """Return where the main thread stands in code that is neither ours nor MXNet's, None where it waits for others.

    Parameters
    ----------
    log : str
        Ends in what `faulthandler` wrote: threads, each with its frames, innermost first. The main thread comes last.
    """
    frames: list[tuple[str, str, str]] = []
    for line in log.splitlines():
        if _THREAD.match(line):
            frames = []
        elif match := _FRAME.match(line):
            frames.append((match.group(1), match.group(2), match.group(3)))
    for path, number, function in frames:
        if "/site-packages/mxnet/" in path or path.startswith(_OURS):
            return None
        of_python = path.startswith("<") or ("/lib/python3." in path and "/site-packages/" not in path)
        if not of_python:
            return f"{function} ({path}, line {number})"
    return None
