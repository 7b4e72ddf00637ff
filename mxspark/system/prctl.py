"""How a process is bound to the one that started it, and how it adopts what others left (prctl(2))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# looked up before any fork: a child that was forked from a process with threads must not wait for the linker's lock
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of whatever a dead child leaves behind, so that it can be found and ended."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """In the child, before it becomes a program: let the kernel send `by` when the parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above, and nobody sends anything any more
        os._exit(255)


def bind_to(parent: int) -> None:
    """In the child: a process group of its own, death with its parent, no limit on memory that Spark set for Python."""
    os.setpgid(0, 0)
    die_with(parent)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
