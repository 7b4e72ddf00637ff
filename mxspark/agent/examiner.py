"""What an agent finds out about its roles without asking them: stopped, out of something, or where they stand."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from mxspark.agent import role_process, shortage
from mxspark.agent.role_process import RoleProcess
from mxspark.protocol import events
from mxspark.system import limits, procfs, threads
from mxspark.system.loop import Loop
from mxspark.system.procfs import STOPPED, Stillness

LOG_BYTES = 65536


class Examiner:
    """Examines the role processes of one agent.

    Parameters
    ----------
    log_dir : Path
        Where they log; its disk is looked at when one is full.
    hang_s : float
        A role that is stopped by a signal for so many seconds is reported, though none may wait for it now.
    """

    def __init__(self, loop: Loop, log_dir: Path, hang_s: float) -> None:
        self._folders = (str(log_dir), tempfile.gettempdir(), "/tmp", "/dev/shm")
        self._hang_s = hang_s
        self._still = Stillness(loop.now)
        self._oom_kills_before = limits.oom_kills()
        self._oom_kills = self._oom_kills_before
        self._has_dumped = False

    def look_around(self, roles: Iterable[RoleProcess]) -> Iterator[events.Examined]:
        """Yield who has been stopped for too long, and keep logs from filling the disk; call it every second."""
        # A role that the kernel kills for lack of memory is often reaped before the count is read: so the count of
        # the look before is kept, and what was added since then is near enough to its death.
        self._oom_kills_before = self._oom_kills
        self._oom_kills = limits.oom_kills()
        for role in roles:
            role_process.trim(role.log)
            if self._still.seconds(role.pid) >= self._hang_s:
                yield events.Examined(role.spec.role, role.spec.rank, STOPPED)

    def dump_stacks(self, roles: Iterable[RoleProcess]) -> dict[str, str]:
        """Write to each log what the kernel knows of the role, make it add its stacks, and return the states found.

        The states of all are read before the first is woken: a stopped process must go on to print anything.
        """
        self._has_dumped = True
        every = list(roles)
        states = {role.name: procfs.state(role.pid) for role in every}
        for role in every:
            with contextlib.suppress(OSError), open(role.log, "a") as log:
                log.write(f"mxspark: process {role.pid}: state {states[role.name] or 'gone'}\n")
                log.writelines(f"mxspark:   {line}\n" for line in threads.threads(role.pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(role.pid, signal.SIGUSR1)
                os.kill(role.pid, signal.SIGCONT)
        return states

    def is_from_dump(self, returncode: int) -> bool:
        """Tell whether a role ended of being asked for its stacks: it was not yet prepared to write them."""
        return self._has_dumped and returncode == -signal.SIGUSR1

    def examine(self, role: RoleProcess, state: str) -> events.Examined:
        """Return where the main thread of a role stands, by the stacks it has written."""
        inside = threads.user_frame(role_process.tail(role.log, LOG_BYTES)) if role.spec.role == "worker" else None
        return events.Examined(role.spec.role, role.spec.rank, state, inside or "")

    def explain(self, event: events.Raised, pid: int) -> events.Raised:
        """Return what was raised, with the limit it met where memory, a disk, files or processes ran out."""
        return shortage.explain(event, pid, self._folders)

    def lack(self, returncode: int, role: RoleProcess, log: str) -> tuple[str, str]:
        """Return what had run out as a role ended, as a kind of cause and in words; empty if nothing says so."""
        if returncode != -signal.SIGKILL:
            return limits.lack_of(role.pid, log, self._folders)
        if limits.oom_kills() > self._oom_kills_before:
            found = limits.memory_limits(role.pid)
            return "memory", f"the kernel ended a process for lack of memory just then ({found})"
        return "", ""
