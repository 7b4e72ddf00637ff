"""What the kernel says of other processes (``/proc``; see proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

_PROC = Path("/proc")
STOPPED = "T"  # one that a debugger holds is t
_NAME_LIMIT = 80  # characters


@dataclass(frozen=True)
class Entry:
    """A line of the process table, or of the threads of one; `state` is R, S, D, T, t, Z or X."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    name: str

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; one that has stays in the table until its parent has taken note."""
        return self.state not in "ZX"


def entry(pid: int) -> Optional[Entry]:
    """Return the line of a process, None if there is none."""
    return _entry(_PROC / str(pid))


def _entry(folder: Path) -> Optional[Entry]:
    """Return what ``stat`` says in the folder of a process or of a thread."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        # the name in parentheses may hold anything, parentheses and spaces too
        head, _, rest = (folder / "stat").read_bytes().rpartition(b")")
        state, parent, group, session = rest.split()[:4]
        name = head.partition(b"(")[2].decode("utf-8", "replace")
        return Entry(int(folder.name), int(parent), int(group), int(session), state.decode(), name)
    return None


def pids() -> list[int]:
    """Return every process there is."""
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]


def table() -> Iterator[Entry]:
    """Yield the line of every process."""
    for pid in pids():
        found = entry(pid)
        if found is not None:  # else it ended meanwhile
            yield found


def threads(pid: int) -> list[Entry]:
    """Return a line for each thread of a process, in order of their ids; none if the process is gone."""
    try:
        names = os.listdir(_PROC / str(pid) / "task")
    except OSError:
        return []
    found = (_entry(_PROC / str(pid) / "task" / name) for name in sorted(names, key=int))
    return [line for line in found if line is not None]


def waits_in(pid: int, thread: int) -> str:
    """Return the function of the kernel that a thread waits in, "" where it does not or that is not for us to know."""
    place = ""
    with contextlib.suppress(OSError):
        place = (_PROC / str(pid) / "task" / str(thread) / "wchan").read_text()
    return "" if place == "0" else place


def owner(pid: int) -> Optional[int]:
    """Return the user id of a process, None if there is none."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid)).stat().st_uid
    return None


def thread_count(uid: int) -> int:
    """Return how many threads a user has on this host."""
    count = 0
    for pid in pids():
        if owner(pid) == uid:
            with contextlib.suppress(OSError):  # it ended meanwhile
                count += len(os.listdir(_PROC / str(pid) / "task"))
    return count


def arguments(pid: int) -> list[str]:
    """Return what a process was started with; empty if it is gone, or dead and not reaped."""
    words = b""
    with contextlib.suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes()
    return words.decode("utf-8", "replace").rstrip("\0").split("\0") if words else []


def environment(pid: int) -> dict[str, str]:
    """Return the first environment of a process; empty if it is gone, another user's, or dead and not reaped."""
    with contextlib.suppress(OSError):
        text = (_PROC / str(pid) / "environ").read_bytes()
        return dict(item.split("=", 1) for item in os.fsdecode(text).split("\0") if "=" in item)
    return {}


def used_paths(pid: int) -> Iterator[str]:
    """Yield the files that a process of ours has open or mapped, and the folder it works in."""
    folder = _PROC / str(pid)
    with contextlib.suppress(OSError):
        yield os.readlink(folder / "cwd")
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(folder / "fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(folder / "fd" / descriptor)
    with contextlib.suppress(OSError):
        for line in (folder / "maps").read_text().splitlines():
            if "/" in line:
                yield line[line.index("/") :]


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
    program, *rest = arguments(pid) or [""]
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
