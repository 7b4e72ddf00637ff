"""What dead runs left on this host: found by what the system says, and removed only if it is provably nobody's.

A run cleans up after itself, also when any one of its processes is killed. This is for a host that lost power, or where
all processes of a run were killed at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from mxspark.errors import ClusterError
from mxspark.protocol import specs
from mxspark.spark.session import local_folders
from mxspark.system import procfs, unix_sockets
from mxspark.topology import identity, placement

RUN = r"\d{8}T\d{6}Z-[0-9a-f]{6}"
_SPOOL = re.compile(rf"mxspark-({RUN})")
_SCRATCH = re.compile(r"mxspark-(?:model-)?(?:[0-9a-f]{16}|[a-z0-9_]{8})")
OLD_S = 3600.0
KILLED_S = 5.0


def add_to(verbs: Any) -> argparse.ArgumentParser:
    """Add the verb to the command line and return its parser."""
    parser: argparse.ArgumentParser = verbs.add_parser("janitor", help="list what dead runs left on this host")
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="local folders of Spark, beside the temporary one")
    parser.add_argument("--remove", action="store_true", help="remove it")
    parser.add_argument("--older-than", type=float, default=1.0, metavar="HOURS", help="leave younger folders alone")
    return parser


def run(given: argparse.Namespace) -> int:
    """List what dead runs left, remove it if asked to, and return the exit code."""
    old_s = given.older_than * 3600
    leftovers = find([*local_folders.of_driver(), *given.folders], old_s)
    for left in leftovers:
        print(f"{left.kind:8} {left.name}  {left.detail}")
    problems = remove(leftovers) if given.remove else []
    for problem in problems:
        print(f"mxspark: {problem}", file=sys.stderr)
    age = f" (folders that were changed in the last {old_s / 3600:g} h do not count, see --older-than)"
    failures = f", {len(problems)} could not be removed" if problems else ""
    print(f"{len(leftovers)} left by dead runs{age}{failures}")
    return ClusterError.exit_code if problems else 0


@dataclass(frozen=True)
class Leftover:
    """One thing that was left.

    Attributes
    ----------
    kind : str
        ``process``, ``socket``, ``spool`` or ``scratch``.
    name : str
        Process id or path.
    detail : str
        What it is, in words.
    """

    kind: str
    name: str
    detail: str


def find(folders: Sequence[str] = (), old_s: float = OLD_S) -> list[Leftover]:
    """Return what dead runs of this user left on this host.

    Parameters
    ----------
    folders : sequence of str
        Local folders of Spark, beside the temporary one.
    old_s : float
        A folder counts only if nothing in it was changed for so many seconds: rows may be spooled on a host before any
        agent runs there.
    """
    table = {pid: _Process.read(pid) for pid in procfs.pids() if pid != os.getpid()}
    known = {pid: entry for pid, entry in table.items() if entry is not None}
    alive = {entry.run for entry in known.values() if entry.run and not _is_orphan(entry, known)}
    leftovers = [
        Leftover("process", str(entry.pid), f"of run {entry.run}: {entry.words[:200]}")
        for entry in known.values()
        if entry.run and _is_orphan(entry, known)
    ]
    leftovers += [Leftover("socket", str(path), "nobody listens on it") for path in _dead_sockets()]
    used = {path for pid in procfs.pids() for path in procfs.used_paths(pid)}
    for path in _our_folders(sorted({tempfile.gettempdir(), *folders})):
        match = _SPOOL.fullmatch(path.name)
        changed_s = time.time() - _changed(path)
        if (match and match.group(1) in alive) or changed_s < old_s or any(_below(file, path) for file in used):
            continue
        kind = "spool" if match else "scratch"
        leftovers.append(Leftover(kind, str(path), f"{_bytes(path):,} bytes, unchanged for {changed_s / 3600:.1f} h"))
    return leftovers


def remove(leftovers: Sequence[Leftover]) -> list[str]:
    """Remove it, and return in words what could not be removed."""
    pids = [int(left.name) for left in leftovers if left.kind == "process"]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + KILLED_S
    while (still := [pid for pid in pids if procfs.is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    problems = [f"process {pid} cannot be killed" for pid in still]
    for left in leftovers:
        if left.kind == "socket":
            unix_sockets.remove_socket(left.name)
        elif left.kind in ("spool", "scratch"):
            try:
                shutil.rmtree(left.name)
            except OSError as error:
                problems.append(f"{left.name} cannot be removed: {error}")
    return problems


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    words: str
    run: Optional[str]
    is_agent: bool

    @classmethod
    def read(cls, pid: int) -> Optional[_Process]:
        entry = procfs.entry(pid)
        if entry is None or procfs.owner(pid) != os.getuid():
            return None
        environment = procfs.environment(pid)
        agent = environment.get(specs.AGENT_TAG)
        run = environment.get(specs.RUN_TAG, agent)
        return cls(pid, entry.parent, " ".join(procfs.arguments(pid)), run, agent is not None)


def _is_orphan(entry: _Process, known: dict[int, _Process]) -> bool:
    """Tell whether nobody owns a process of a run: no agent is above it, or above that agent no Python program."""
    seen = set()
    while not entry.is_agent:
        above = known.get(entry.parent)
        if above is None or above.pid in seen:
            return True
        seen.add(above.pid)
        entry = above
    starter = " ".join(procfs.arguments(entry.parent))
    return not any(name in starter for name in ("python", "jupyter", "ipykernel"))


def _dead_sockets() -> Iterator[Path]:
    """Yield sockets with names as ps-lite's that are ours and that nobody listens on."""
    for entry in os.scandir(identity.SOCKET_FOLDER):
        if not (entry.name.isdigit() and int(entry.name) >= placement.LOWEST_PORT):
            continue
        if unix_sockets.socket_problem(entry.path) is None and _refuses(entry.path):
            yield Path(entry.path)


def _refuses(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False  # full or of another kind: somebody is there
    return False


def _our_folders(roots: Sequence[str]) -> Iterator[Path]:
    """Yield folders of runs in `roots` and one level below (Spark makes a folder of its own for each application)."""
    for root in dict.fromkeys(roots):
        for path in (*Path(root).glob("mxspark-*"), *Path(root).glob("*/mxspark-*")):
            with contextlib.suppress(OSError):
                status = path.lstat()
                named = _SPOOL.fullmatch(path.name) or _SCRATCH.fullmatch(path.name)
                if named and stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                    yield path


def _below(file: str, folder: Path) -> bool:
    return file == str(folder) or file.startswith(f"{folder}/")


def _changed(folder: Path) -> float:
    """Return when something in a folder was changed last."""
    newest = folder.lstat().st_mtime
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            newest = max(newest, path.lstat().st_mtime)
    return newest


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
