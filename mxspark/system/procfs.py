"""What the kernel says of other processes (``/proc``; see proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

STOPPED = "T"  # one that a debugger holds is t
_NAME_LIMIT = 80  # characters


@dataclass(frozen=True)
class Entry:
    """A line of the process table; `state` is R, S, D, T, t, Z or X."""

    pid: int
    parent: int
    group: int
    state: str

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; one that has stays in the table until its parent has taken note."""
        return self.state not in "ZX"


def entry(pid: int) -> Optional[Entry]:
    """Return the line of a process, None if there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        # the name in parentheses may hold anything, parentheses and spaces too
        fields = Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()
        return Entry(pid, int(fields[1]), int(fields[2]), fields[0].decode())
    return None


def table() -> Iterator[Entry]:
    """Yield every process."""
    for name in os.listdir("/proc"):
        found = entry(int(name)) if name.isdigit() else None
        if found is not None:
            yield found


def below(pid: int, but: Collection[int] = ()) -> Iterator[Entry]:
    """Yield all that descends from a process, the dead too; not those in `but`, nor what is below them."""
    children: dict[int, list[Entry]] = {}
    for found in table():
        children.setdefault(found.parent, []).append(found)
    front = [pid]
    while front:
        for child in children.get(front.pop(), []):
            if child.pid not in but:
                front.append(child.pid)
                yield child


def state(pid: int) -> str:
    """Return the letter of what a process is doing, "" if it is gone."""
    found = entry(pid)
    return found.state if found is not None else ""


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    found = entry(pid)
    return found is not None and found.is_alive


def command_line(pid: int) -> str:
    """Return what a process was started with: one short line without the program's folder."""
    words = b""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    program, *rest = words.decode("utf-8", "replace").split("\0")
    text = " ".join([os.path.basename(program), *rest])
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (line if len(line) <= _NAME_LIMIT else line[: _NAME_LIMIT - 1] + "…") or "a process"


class Stillness:
    """For how long processes have been seen stopped by a signal: SIGSTOP, or the Ctrl-Z of a terminal."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: dict[int, float] = {}

    def seconds(self, pid: int) -> float:
        """Return for how long one has been seen stopped, 0 while it runs; ask again and again."""
        if state(pid) != STOPPED:
            self._since.pop(pid, None)
            return 0.0
        return self._now() - self._since.setdefault(pid, self._now())
