"""All role processes of one agent: starts them, listens to them, ends them, and says what became of each."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Sequence
from typing import Callable, Optional

from mxspark.agent import role_process, shortage
from mxspark.agent.loop import Loop, Stream
from mxspark.agent.role_process import RoleProcess, Settings
from mxspark.errors.cause import describe_exit
from mxspark.protocol import commands, events, frames
from mxspark.protocol.specs import Inherited, RoleSpec
from mxspark.system import limits as examine
from mxspark.system import process_tree, procfs, threads, unix_sockets
from mxspark.system.procfs import STOPPED, Stillness

FROM_ROLES = (
    events.Loaded,
    events.Formed,
    events.Started,
    events.Beat,
    events.EpochEnd,
    events.Staged,
    events.Raised,
    events.Done,
    events.Ready,
)
TAIL_BYTES, TAIL_LINES, LOG_BYTES = 8192, 40, 65536
KILL_S = 2.0
STACKS_S = 0.4  # for the processes to write their stacks
LOOK_S = 1.0

Report = Callable[[Optional[tuple[str, int]], events.Event], None]


class Roles:
    """The role processes of one agent.

    Parameters
    ----------
    hang_s : float
        A role that is stopped by a signal for so many seconds is reported, though none may wait for it now.
    report : callable
        ``report(who, event)`` for everything the roles say, `who` being (role, rank), or None for the agent itself.
    on_empty : callable
        Called once when, after `leave` or `kill`, no role process is left.

    Attributes
    ----------
    left : list of str
        What did not end as it should, in words.
    ended : list of str
        What roles that ended by themselves had started and left running, by name; it is ended.
    """

    def __init__(
        self, loop: Loop, settings: Settings, hang_s: float, report: Report, on_empty: Callable[[], None]
    ) -> None:
        self._loop, self._settings, self._hang_s = loop, settings, hang_s
        self._report, self._on_empty = report, on_empty
        self._running: list[RoleProcess] = []
        self._all: list[RoleProcess] = []
        self._streams: dict[str, Stream] = {}
        self._leaving = self._killed = self._emptied = self._dumped = False
        self._still = Stillness(loop.now)
        self._folders = (str(settings.log_dir), tempfile.gettempdir(), "/tmp", "/dev/shm")
        self._oom_kills = [examine.oom_kills()] * 2  # before, and lately
        self._look_around()
        self.left: list[str] = []
        self.ended: list[str] = []

    def start(self, specs: Sequence[RoleSpec], inherited: Optional[Inherited] = None) -> None:
        """Start every role; one that cannot be started is a failure of that role. The worker gets `inherited`."""
        for spec in specs:
            if self._killed:  # a report of the last one can have ended the attempt
                return
            try:
                role = role_process.start(spec, self._settings, inherited if spec.role == "worker" else None)
            except OSError as error:
                raised = events.Raised("role", "NotStarted", f"it could not be started: {error}", "")
                self._report((spec.role, spec.rank), shortage.explain(raised, os.getpid(), self._folders))
                return
            self._running.append(role)
            self._all.append(role)
            self._report(None, events.RoleStarted(spec.role, spec.rank, role.pid, str(role.log)))
            self._listen(role)

    def tell_workers(self, command: commands.Command) -> None:
        """Send a command to each worker."""
        for role in self._running:
            if role.spec.role == "worker":
                self._streams[role.name].send(commands.to_wire(command))

    def pause(self, paused: bool) -> None:
        """Stop or resume listening to the roles, so that one that floods us has to wait."""
        for stream in self._streams.values():
            if stream.open:
                stream.pause(paused)

    def verify_sockets(self) -> None:
        """Once the group has formed: each role must have bound exactly the path it was given."""
        for role in list(self._running):
            problem = unix_sockets.socket_problem(role.spec.socket) if role.spec.socket else None
            if problem:
                self._complain(role.spec, "WrongSocket", problem)

    def dump_stacks(self) -> None:
        """Write to each log what the kernel knows of the role, make it add the stacks of its threads, and report."""
        self._dumped = True
        states = {role.name: procfs.state(role.pid) for role in self._running}
        for role in self._running:
            with contextlib.suppress(OSError), open(role.log, "a") as log:
                log.write(f"mxspark: process {role.pid}: state {states[role.name] or 'gone'}\n")
                log.writelines(f"mxspark:   {line}\n" for line in threads.threads(role.pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(role.pid, signal.SIGUSR1)
                os.kill(role.pid, signal.SIGCONT)  # a stopped process would print nothing
        self._loop.after(STACKS_S, lambda: self._examined(states))

    def _examined(self, states: dict[str, str]) -> None:
        for role in list(self._running):
            inside = threads.user_frame(role_process.tail(role.log, LOG_BYTES)) if role.spec.role == "worker" else None
            state = states.get(role.name, "")
            self._report(None, events.Examined(role.spec.role, role.spec.rank, state, inside or ""))

    def _look_around(self) -> None:
        if not self._emptied:
            self._oom_kills = [self._oom_kills[1], examine.oom_kills()]
            for role in list(self._running):
                role_process.trim(role.log)
                self._look_whether_stopped(role)
            self._loop.after(LOOK_S, self._look_around)

    def _look_whether_stopped(self, role: RoleProcess) -> None:
        if self._still.seconds(role.pid) >= self._hang_s:
            self._report(None, events.Examined(role.spec.role, role.spec.rank, STOPPED))

    def leave(self, shutdown_s: float) -> None:
        """Let the roles end by themselves; kill those that did not after `shutdown_s`."""
        self._leaving = True
        self._loop.after(shutdown_s, self._kill_stragglers)
        self._check_empty()

    def kill(self) -> None:
        """End all roles and their process groups now."""
        if not self._killed:
            self._killed = True
            for role in self._running:
                role_process.kill(role)
            self._loop.after(KILL_S, self._give_up)
            self._check_empty()

    @property
    def suffix(self) -> str:
        """Return what the names of this attempt's logs end in."""
        return self._settings.log_suffix

    def logs(self) -> dict[str, str]:
        """Return the end of each role's log by name; the name tells attempts apart."""
        return {role.name + self._settings.log_suffix: role_process.tail(role.log, LOG_BYTES) for role in self._all}

    def pids(self) -> set[int]:
        """Return the processes not reaped yet."""
        return {role.pid for role in self._running}

    def _listen(self, role: RoleProcess) -> None:
        self._streams[role.name] = Stream(
            self._loop,
            role.channel.detach(),
            frames.Plain(),
            lambda frame: self._heard(role, frame),
            lambda error: self._complain(role.spec, "WireError", str(error)) if error else None,
        )
        self._loop.watch_exit(role.pid, lambda: self._ended(role))

    def _heard(self, role: RoleProcess, frame: frames.Message) -> None:
        try:
            event = events.from_wire(frame)
        except ValueError as error:
            self._complain(role.spec, "ValueError", f"it reported something that is no event: {error}")
            return
        if not isinstance(event, FROM_ROLES):
            kind = type(event).__name__
            self._complain(role.spec, "ValueError", f"it reported {kind}, which is not for a role to say")
            return
        if isinstance(event, events.Raised):
            event = shortage.explain(event, role.pid, self._folders)
        self._report((role.spec.role, role.spec.rank), event)
        if isinstance(event, events.Formed) and event.rank != role.spec.rank:
            message = f"it is rank {role.spec.rank} but the group made it rank {event.rank}"
            self._complain(role.spec, "WrongRank", message)

    def _complain(self, spec: RoleSpec, kind: str, message: str) -> None:
        self._report((spec.role, spec.rank), events.Raised("role", kind, message, ""))

    def _ended(self, role: RoleProcess) -> None:
        if not self._killed:
            self.ended += process_tree.left_by(role.pid)
        role_process.kill(role)  # what it started goes with it
        if self._emptied:  # given up before; a next attempt may have a role of this name
            role.popen.wait()
            return
        self._streams[role.name].drain()
        returncode = role.popen.wait()
        self._streams[role.name].close()
        if role.spec.socket:
            unix_sockets.remove_socket(role.spec.socket)
        self._running.remove(role)
        by_dump = self._dumped and returncode == -signal.SIGUSR1  # it was not prepared to write its stacks
        expected = self._leaving or self._killed or by_dump
        if self._leaving and not self._killed and returncode != 0:
            self.left.append(f"{role.name} (pid {role.pid}) {describe_exit(returncode)[2]} while shutting down")
        text = role_process.tail(role.log, TAIL_BYTES, TAIL_LINES)
        lack, why = ("", "") if expected else self._lack(returncode, role, text)
        event = events.RoleEnded(role.spec.role, role.spec.rank, role.pid, returncode, expected, text, why, lack)
        self._report(None, event)
        self._check_empty()

    def _lack(self, returncode: int, role: RoleProcess, log: str) -> tuple[str, str]:
        """Return what had run out, as a kind of cause and in words; empty if nothing says so."""
        if returncode != -signal.SIGKILL:
            return examine.lack_of(role.pid, log, self._folders)
        if examine.oom_kills() > self._oom_kills[0]:
            limits = examine.memory_limits(role.pid)
            return "memory", f"the kernel ended a process for lack of memory just then ({limits})"
        return "", ""

    def _kill_stragglers(self) -> None:
        if self._running and not self._killed:
            self.left += [f"{role.name} (pid {role.pid}) had to be killed to end" for role in self._running]
            self.kill()

    def _give_up(self) -> None:
        self.left += [f"{role.name} (pid {role.pid}) cannot be killed" for role in self._running]
        for role in self._running:
            self._streams[role.name].close()
        self._empty()

    def _check_empty(self) -> None:
        if not self._running and (self._leaving or self._killed):
            self._empty()

    def _empty(self) -> None:
        if not self._emptied:
            self._emptied = True
            self._on_empty()
