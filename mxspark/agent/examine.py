"""What the system knows of a process: its state, where its threads wait, its limits, and why it may have been ended."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

import mxspark
from mxspark import events

THREADS_SHOWN = 64
_OURS = os.path.dirname(os.path.abspath(mxspark.__file__)) + os.sep
_FRAME = re.compile(r'^  File "([^"]+)", line (\d+) in (.+)$')
_THREAD = re.compile(r"^(Current thread|Thread) 0x")
_CGROUP = Path("/sys/fs/cgroup")
_PATH = re.compile(r"'(/[^'\n]+)'")
_NO_MEMORY = re.compile(
    r"\bMemoryError\b|std::bad_alloc|Cannot allocate memory|[Ff]ailed to allocate (?:CPU )?[Mm]emory|\[Errno 12\]"
)
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (?:28|122)\]|Write incomplete")
_NO_FILES = re.compile(r"Too many open files|\[Errno (?:23|24)\]")
_NO_PROCESS = re.compile(r"Resource temporarily unavailable|\[Errno 11\]|can't start new thread")
_FULL_BYTES = 2**20


def state(pid: int) -> str:
    """Return the letter of what a process is doing (R, S, D, T, Z), "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def threads(pid: int) -> Iterator[str]:
    """Yield a line on each thread: its name, what it is doing and where it waits in the kernel."""
    try:
        tasks = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return
    for task in tasks[:THREADS_SHOWN]:
        folder = Path(f"/proc/{pid}/task/{task}")
        try:
            name, rest = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            wchan = (folder / "wchan").read_text()
        except (OSError, ValueError, IndexError):
            continue
        where = wchan if wchan not in ("", "0") else "user space"
        yield f"thread {task} {name}: state {rest.split()[0]}, in {where}"
    if len(tasks) > THREADS_SHOWN:
        yield f"and {len(tasks) - THREADS_SHOWN} threads more"


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


def memory_limits(pid: int) -> str:
    """Return in words what bounds the memory of a process."""
    found = []
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            found.append(f"RLIMIT_AS {_gib(soft)}")
    except (OSError, ValueError):
        pass  # it is gone; the other limits are those of its group
    group = _group_limit()
    if group is not None:
        found.append(f"cgroup memory.max {_gib(group)}")
    total = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    if total:
        found.append(f"{_gib(int(total.group(1)) * 1024)} of memory on this host")
    return ", ".join(found)


def oom_kills() -> int:
    """Return how often the kernel has ended a process for lack of memory, on this host and in this cgroup."""
    count = 0
    for path in (Path("/proc/vmstat"), *(folder / "memory.events" for folder in _groups())):
        try:
            match = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        count += int(match.group(1)) if match else 0
    return count


def explain(event: events.Raised, pid: int, folders: Sequence[str]) -> events.Raised:
    """Return what a role raised, with the limit it met where memory, a disk, files or processes ran out.

    Parameters
    ----------
    pid : int
        The role, or its agent if it could not be started.
    folders : sequence of str
        Where it writes; looked at when a full disk is not named.
    """
    text = f"{event.type}: {event.message}"
    if _NO_MEMORY.search(text):
        return replace(event, who="memory", message=f"out of memory ({memory_limits(pid)}): {event.message}")
    if _NO_ROOM.search(text):
        return replace(event, who="disk", message=f"{event.message}; {disk_of(event.message, folders)}")
    if _NO_FILES.search(text):
        return replace(event, who="limit", message=f"{event.message}; {_limit(pid, 'NOFILE', 'ulimit -n')}")
    if _NO_PROCESS.search(text):
        return replace(event, who="limit", message=f"{event.message}; {_limit(pid, 'NPROC', 'ulimit -u')}")
    return event


def _limit(pid: int, name: str, command: str) -> str:
    try:
        soft, hard = resource.prlimit(pid, getattr(resource, f"RLIMIT_{name}"))
    except OSError:
        soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    return f"RLIMIT_{name} is {soft} (at most {hard}) for this user's processes: raise it ({command})"


def killed_for_memory(pid: int, log: str) -> Optional[str]:
    """Return in words that a process which has ended was out of memory, if its last lines say so."""
    last = "\n".join(log.splitlines()[-20:])
    return f"out of memory ({memory_limits(pid)})" if _NO_MEMORY.search(last) else None


def disk_of(message: str, folders: Sequence[str] = ()) -> str:
    """Name the disk that a message about a lack of room is about, else those of `folders` that are full."""
    match = _PATH.search(message)
    if match is not None:
        return f"{_room(Path(match.group(1)))[1]}: make room, or point the folder elsewhere"
    full = {words for free, words in map(_room, map(Path, folders)) if free < _FULL_BYTES}
    return f"{'; '.join(sorted(full)) or 'a local disk, /tmp or /dev/shm is full (df -h)'}: make room"


def _room(path: Path) -> tuple[int, str]:
    """Return the bytes left on the disk a path is on, and that in words."""
    while not path.exists() and path != path.parent:
        path = path.parent
    mount = path.resolve()
    while not os.path.ismount(mount) and mount != mount.parent:
        mount = mount.parent
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    return free, f"the disk mounted at {mount} has {_gib(free)} of {_gib(room.f_blocks * room.f_frsize)} left"


def _groups() -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of those above it."""
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    folder = _CGROUP / line[3:].lstrip("/")
    while folder != _CGROUP.parent:
        yield folder
        folder = folder.parent


def _group_limit() -> Optional[int]:
    """Return the smallest limit on memory of the cgroups this process is in."""
    limits = []
    for path in (*(folder / "memory.max" for folder in _groups()), _CGROUP / "memory/memory.limit_in_bytes"):
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min((limit for limit in limits if limit < 2**60), default=None)


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
