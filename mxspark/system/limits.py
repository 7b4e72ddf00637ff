"""What the system knows of a process: its state, where its threads wait, its limits, and why it may have been ended."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

_CGROUP = Path("/sys/fs/cgroup")
_PATH = re.compile(r"'(/[^'\n]+)'")
_NO_MEMORY = re.compile(
    r"\bMemoryError\b|std::bad_alloc|Cannot allocate memory|[Ff]ailed to allocate (?:CPU )?[Mm]emory|\[Errno 12\]"
)
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (?:28|122)\]|Write incomplete")
_NO_FILES = re.compile(r"Too many open files|\[Errno (?:23|24)\]")
_NO_PROCESS = re.compile(r"Resource temporarily unavailable|\[Errno 11\]|can't start new thread")
_FULL_BYTES = 2**20


def memory_limits(pid: int) -> str:
    """Return in words what bounds the memory of a process."""
    found = []
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            found.append(f"RLIMIT_AS {gib(soft)}")
    except (OSError, ValueError):
        pass  # it is gone; the other limits are those of its group
    group = _group_limit()
    if group is not None:
        found.append(f"cgroup memory limit {gib(group)}")
    total = re.search(r"MemTotal:\s+(\d+) kB", _read(Path("/proc/meminfo")))
    if total:
        found.append(f"{gib(int(total.group(1)) * 1024)} of memory on this host")
    return ", ".join(found)


def oom_kills() -> int:
    """Return how often the kernel has ended a process for lack of memory, on this host and in this cgroup."""
    count = 0
    for text in (_read(Path("/proc/vmstat")), *_of_groups("memory", "memory.events", "memory.oom_control")):
        match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        count += int(match.group(1)) if match else 0
    return count


def _limit(pid: int, name: str, command: str) -> str:
    try:
        soft, hard = resource.prlimit(pid, getattr(resource, f"RLIMIT_{name}"))
    except OSError:
        soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    words = f"RLIMIT_{name} is {soft} (at most {hard}) for this user's processes: raise it ({command})"
    most = min((int(text) for text in _of_groups("pids", "pids.max") if text.strip().isdigit()), default=None)
    return f"{words}; cgroup pids.max is {most}" if name == "NPROC" and most is not None else words


def lack_of(pid: int, log: str, folders: Sequence[str]) -> tuple[str, str]:
    """Return what an ended process had run out of, if its last lines say so: a kind of cause, and words."""
    return lack_in("\n".join(log.splitlines()[-20:]), pid, folders)


def lack_in(text: str, pid: int, folders: Sequence[str]) -> tuple[str, str]:
    """Return what a message says a process had run out of: a kind of cause, and words; two empty texts for nothing.

    Parameters
    ----------
    pid : int
        The process, or another with the same limits if it could not be started.
    folders : sequence of str
        Where it writes; looked at when a full disk is not named.
    """
    if _NO_MEMORY.search(text):
        return "memory", f"out of memory ({memory_limits(pid)})"
    if _NO_ROOM.search(text):
        return "disk", disk_of(text, folders)
    if _NO_FILES.search(text):
        return "limit", _limit(pid, "NOFILE", "ulimit -n")
    if _NO_PROCESS.search(text):
        return "limit", _limit(pid, "NPROC", "ulimit -u")
    return "", ""


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
    if room.f_files and not room.f_favail:
        return 0, f"the disk mounted at {mount} has none of its {room.f_files} inodes left"
    return free, f"the disk mounted at {mount} has {gib(free)} of {gib(room.f_blocks * room.f_frsize)} left"


def _of_groups(controller: str, *names: str) -> Iterator[str]:
    """Yield what files of this process's cgroup and of those above it say: of v2, and of v1's `controller`."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP / controllers if controllers else _CGROUP
        folder = root / path.lstrip("/")
        while folder != root.parent:
            yield from (_read(folder / name) for name in names if (folder / name).exists())
            folder = folder.parent


def _group_limit() -> Optional[int]:
    """Return the smallest limit on memory of the cgroups this process is in."""
    texts = _of_groups("memory", "memory.max", "memory.limit_in_bytes")
    limits = [int(text) for text in texts if text.strip().isdigit()]  # else "max"
    return min((limit for limit in limits if limit < 2**60), default=None)


def _read(path: Path) -> str:
    """Return what a small file of the kernel says, "" if it is not there or not for us."""
    try:
        return path.read_text()
    except OSError:
        return ""


def gib(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count / 2**30:.3g} GiB"
