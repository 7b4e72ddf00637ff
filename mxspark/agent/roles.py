"""All role processes of one agent: starts them, listens to them, ends them, and says what became of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from typing import Callable, Optional

from mxspark.agent import role_process
from mxspark.agent.examiner import LOG_BYTES, Examiner
from mxspark.agent.role_process import RoleProcess, Settings
from mxspark.errors.cause import describe_exit
from mxspark.errors.phase import advance
from mxspark.protocol import commands, events, frames
from mxspark.protocol.specs import Inherited, RoleSpec, Who
from mxspark.protocol.stream import Stream
from mxspark.system import process_tree, unix_sockets
from mxspark.system.loop import Loop

FROM_ROLES = (
    events.Loaded,
    events.Formed,
    events.Preparing,
    events.Started,
    events.Beat,
    events.EpochEnd,
    events.Noted,
    events.Staged,
    events.Raised,
    events.Done,
    events.Ready,
)
TAIL_BYTES = 8192
TAIL_LINES = 40
KILL_S = 2.0
STACKS_S = 0.4  # for the processes to write their stacks
LOOK_S = 1.0

Report = Callable[[Optional[Who], events.Event], None]


class Phase(Enum):
    """What the roles are meant to do."""

    WORKING = "work, and end only if something is wrong"
    LEAVING = "end by themselves"
    KILLED = "be gone"
    EMPTY = "all are gone, or given up"


STEPS = {
    Phase.WORKING: (Phase.LEAVING, Phase.KILLED),
    Phase.LEAVING: (Phase.KILLED, Phase.EMPTY),
    Phase.KILLED: (Phase.EMPTY,),
    Phase.EMPTY: (),
}


class Roles:
    """The role processes of one agent and one attempt.

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
        self._loop = loop
        self._settings = settings
        self._report = report
        self._on_empty = on_empty
        self._phase = Phase.WORKING
        self._started: list[RoleProcess] = []
        self._streams: dict[str, Stream] = {}
        self._examiner = Examiner(loop, settings.log_dir, hang_s)
        self.left: list[str] = []
        self.ended: list[str] = []
        self._look_around()

    def start(self, specs: Sequence[RoleSpec], inherited: Optional[Inherited] = None) -> None:
        """Start every role; one that cannot be started is a failure of that role. The worker gets `inherited`."""
        for spec in specs:
            if self._phase is not Phase.WORKING:  # a report of the last one can have ended the attempt
                return
            try:
                role = role_process.start(spec, self._settings, inherited if spec.role == "worker" else None)
            except OSError as error:
                raised = events.Raised("role", "NotStarted", f"it could not be started: {error}", "")
                self._report((spec.role, spec.rank), self._examiner.explain(raised, os.getpid()))
                return
            self._started.append(role)
            # Before anything the role says itself, which may be the failure that names it by its pid.
            self._report(None, events.RoleStarted(spec.role, spec.rank, role.pid, str(role.log)))
            self._listen(role)

    def tell_workers(self, command: commands.Command) -> None:
        """Send a command to each worker."""
        for role in self._running():
            if role.spec.role == "worker":
                self._streams[role.name].send(commands.to_wire(command))

    def pause(self, paused: bool) -> None:
        """Stop or resume listening to the roles, so that one that floods us has to wait."""
        for stream in self._streams.values():
            if stream.open:
                stream.pause(paused)

    def verify_sockets(self) -> None:
        """Once the group has formed: each role must have bound exactly the path it was given."""
        for role in self._running():
            # ps-lite takes another name where one is in use, and the group would form without anybody knowing where
            problem = unix_sockets.socket_problem(role.spec.socket) if role.spec.socket else None
            if problem:
                self._complain(role.spec, "WrongSocket", problem)

    def dump_stacks(self) -> None:
        """Have every role write its stacks into its log, and report where each stands."""
        roles = self._running()
        states = self._examiner.dump_stacks(roles)
        self._loop.after(STACKS_S, lambda: self._report_examined(roles, states))

    def leave(self, shutdown_s: float) -> None:
        """Let the roles end by themselves; kill those that did not after `shutdown_s`."""
        if self._phase is Phase.WORKING:
            self._step_to(Phase.LEAVING)
            self._loop.after(shutdown_s, self._kill_stragglers)
            self._check_empty()

    def kill(self) -> None:
        """End all roles and their process groups now."""
        if self._phase in (Phase.WORKING, Phase.LEAVING):
            self._step_to(Phase.KILLED)
            for role in self._running():
                role_process.kill(role)
            # A process that is blocked in the kernel does not die of it; the attempt must come to its end all the same.
            self._loop.after(KILL_S, self._give_up)
            self._check_empty()

    def logs(self) -> dict[str, str]:
        """Return the end of each role's log by name; the name tells attempts apart."""
        suffix = self._settings.log_suffix
        return {role.name + suffix: role_process.tail(role.log, LOG_BYTES) for role in self._started}

    def pids(self) -> set[int]:
        """Return the processes not reaped yet."""
        return {role.pid for role in self._running()}

    def _running(self) -> list[RoleProcess]:
        return [role for role in self._started if role.popen.returncode is None]

    def _step_to(self, phase: Phase) -> None:
        self._phase = advance("the roles of an agent", self._phase, phase, STEPS)

    def _look_around(self) -> None:
        if self._phase is not Phase.EMPTY:
            for found in self._examiner.look_around(self._running()):
                self._report(None, found)
            self._loop.after(LOOK_S, self._look_around)

    def _report_examined(self, roles: list[RoleProcess], states: dict[str, str]) -> None:
        # Of all that were asked, not of those still there: one that was stopped before it could write its stacks ends
        # of the question, and it is the one at fault.
        for role in roles:
            self._report(None, self._examiner.examine(role, states[role.name]))

    def _listen(self, role: RoleProcess) -> None:
        self._streams[role.name] = Stream(
            self._loop,
            role.channel.detach(),
            frames.Plain(),
            lambda frame: self._take(role, frame),
            # an end of file says nothing yet: whether the role has ended, and of what, is for its pidfd to say
            lambda error: self._complain(role.spec, "WireError", str(error)) if error else None,
        )
        self._loop.watch_exit(role.pid, lambda: self._reap(role))

    def _take(self, role: RoleProcess, frame: frames.Message) -> None:
        """Pass on what a role says: it is user code that runs there, so that nothing it sends is taken on trust."""
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
            event = self._examiner.explain(event, role.pid)
        self._report((role.spec.role, role.spec.rank), event)
        if isinstance(event, events.Formed) and event.rank != role.spec.rank:
            message = f"it is rank {role.spec.rank} but the group made it rank {event.rank}"
            self._complain(role.spec, "WrongRank", message)

    def _complain(self, spec: RoleSpec, kind: str, message: str) -> None:
        self._report((spec.role, spec.rank), events.Raised("role", kind, message, ""))

    def _reap(self, role: RoleProcess) -> None:
        """A role has ended: end what it started, and report it. Not reaped before, its pid is still its own."""
        if self._phase in (Phase.WORKING, Phase.LEAVING):
            self.ended += process_tree.left_by(role.pid)
        role_process.kill(role)  # what it started goes with it
        if self._phase is Phase.EMPTY:  # given up before; a next attempt may have a role of this name
            role.popen.wait()
            return
        # First its last words: an exception that it raised names the cause, that it has ended does not.
        self._streams[role.name].drain()
        returncode = role.popen.wait()
        self._streams[role.name].close()
        if role.spec.socket:
            unix_sockets.remove_socket(role.spec.socket)
        self._report_end(role, returncode)
        self._check_empty()

    def _report_end(self, role: RoleProcess, returncode: int) -> None:
        if self._phase is Phase.LEAVING and returncode != 0:
            self.left.append(f"{role.name} (pid {role.pid}) {describe_exit(returncode)[2]} while shutting down")
        expected = self._phase is not Phase.WORKING or self._examiner.is_from_dump(returncode)
        text = role_process.tail(role.log, TAIL_BYTES, TAIL_LINES)
        lack, why = ("", "") if expected else self._examiner.lack(returncode, role, text)
        who = role.spec
        self._report(None, events.RoleEnded(who.role, who.rank, role.pid, returncode, expected, text, why, lack))

    def _kill_stragglers(self) -> None:
        if self._phase is Phase.LEAVING:
            self.left += [f"{role.name} (pid {role.pid}) had to be killed to end" for role in self._running()]
            self.kill()

    def _give_up(self) -> None:
        if self._phase is Phase.EMPTY:
            return
        for role in self._running():  # blocked in the kernel: a signal waits until the disk or network answers
            self.left.append(f"{role.name} (pid {role.pid}) cannot be killed")
            self._streams[role.name].close()
        self._empty()

    def _check_empty(self) -> None:
        if self._phase in (Phase.LEAVING, Phase.KILLED) and not self._running():
            self._empty()

    def _empty(self) -> None:
        self._step_to(Phase.EMPTY)
        self._on_empty()
