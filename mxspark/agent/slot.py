"""The agent of one slot: follows the driver's agent, owns the roles of its slot, ends with its task or its lease."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Optional, Union

from mxspark.agent import host_group, role_process, shortage
from mxspark.agent.host_group import Guest, Host
from mxspark.agent.roles import Roles
from mxspark.agent.upstream import FULL_BYTES, SLOW_BYTES, Upstream
from mxspark.errors.phase import advance
from mxspark.protocol import commands, events, frames
from mxspark.protocol.specs import CPU, AgentSpec, Inherited, Who
from mxspark.system import process_tree, stdio
from mxspark.system.loop import Loop
from mxspark.topology import identity

log = logging.getLogger(__name__)

TICK_S = 0.1
ENDED_LIMIT = 20  # names of processes that user code left
FLUSH_S = 1.0
ORPHANS_S = 1.0
FINISHED = "finished"
STOPPED = "stopped"
ORPHANED = "orphaned"


class Phase(Enum):
    """What the agent of a slot is at."""

    SERVING = "waits for an attempt, or has one"
    CLEARING = "ends the roles of an attempt that is over"
    FINISHING = "lets the roles leave, all being done"
    ENDING = "ends every role, then itself"


STEPS = {
    Phase.SERVING: (Phase.CLEARING, Phase.FINISHING, Phase.ENDING),
    Phase.CLEARING: (Phase.SERVING, Phase.ENDING),
    Phase.FINISHING: (Phase.ENDING,),
    Phase.ENDING: (),
}


class SlotAgent:
    """The agent of one slot.

    Parameters
    ----------
    scratch : Path
        Where the logs go if nothing else is known; made when needed and removed at the end.

    Attributes
    ----------
    outcome : dict
        How it ended, for the task that started it; empty before that.
    """

    def __init__(self, loop: Loop, spec: AgentSpec, environment: Mapping[str, str], scratch: Path) -> None:
        self._loop = loop
        self._spec = spec
        self._scratch = scratch
        folder, prefix = self._log_place(environment)
        self._settings = role_process.Settings(
            sys.executable, spec.sys_path, role_process.base_environment(environment), folder, prefix, spec.entries
        )
        stdio.log_to(folder / f"{prefix}agent-{spec.rank}.log")
        self._phase = Phase.SERVING
        self._attempt = 0
        self._roles = self._make_roles()
        self._host_group: Union[Host, Guest, None] = None
        self.outcome: dict[str, object] = {}
        self._upstream = Upstream(loop, spec, self._command, lambda why: self._end(ORPHANED, why))
        loop.every(TICK_S, self._tick)
        loop.every(spec.limits.lease_s / 3, self._upstream.beat)

    @property
    def has_finished(self) -> bool:
        """Whether it ended because all was done."""
        return self.outcome.get("outcome") == FINISHED

    def abandon(self, why: str) -> None:
        """The task, or whoever else may end this agent, is gone: kill everything now, then say so."""
        is_first = self._phase is not Phase.ENDING
        self._end(ORPHANED, why)
        if is_first:
            self._report(None, events.Raised("agent", "Abandoned", why, ""))

    def _make_roles(self) -> Roles:
        """Return what will hold the roles of the attempt."""
        settings = self._settings.of_attempt(self._attempt)
        return Roles(self._loop, settings, self._spec.limits.hang_s, self._report, self._all_ended)

    def _log_place(self, environment: Mapping[str, str]) -> tuple[Path, str]:
        if self._spec.log_dir is not None:
            # Not its parents: they are the driver's, and gone if the driver is. A Ctrl-C may come before this agent is
            # up, and it will hear so from the driver's agent: that no log can be kept there is no news.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.mkdir(self._spec.log_dir, 0o700)
            if os.path.isdir(self._spec.log_dir):
                return Path(self._spec.log_dir), ""
        container = environment.get("LOG_DIRS", "").split(",")[0]  # YARN collects what lies there
        if container and os.path.isdir(container):
            return Path(container), f"mxspark-{self._spec.run_id}-"
        os.mkdir(self._scratch, 0o700)
        return self._scratch, ""

    def _command(self, frame: frames.Message) -> None:
        """Carry out what the driver's agent says; once this agent ends, only the end of its roles matters."""
        table: commands.Table = {
            commands.Start: self._start,
            commands.Clear: self._clear,
            commands.Finish: self._finish,
            commands.Stop: lambda stop: self._end(STOPPED, stop.why),
            commands.DumpStacks: lambda _: self._roles.dump_stacks(),
            commands.Committed: self._roles.tell_workers,
            commands.EndEarly: self._roles.tell_workers,
            commands.LastStep: self._roles.tell_workers,
        }
        commands.carry_out(frame, "the agent of a slot", table)

    def _step_to(self, phase: Phase) -> None:
        self._phase = advance(f"the agent of slot {self._spec.rank}", self._phase, phase, STEPS)

    def _start(self, command: commands.Start) -> None:
        """Start the roles of an attempt, once the workers of this host have the memory they share."""
        if self._phase is Phase.ENDING:
            return
        self._attempt = command.attempt
        self._roles = self._make_roles()
        found = next((role.meeting for role in command.roles if role.meeting), None)
        start = partial(self._start_roles, command)
        if found is None or len(found.members) == 1:
            start(Inherited(found.hosts) if found else None)
            return
        secret = bytes.fromhex(self._spec.secret)
        if self._spec.rank != found.members[0]:
            self._host_group = Guest(self._loop, found, self._spec.rank, secret, start, self._not_met)
            return
        try:
            host = Host(self._loop, found, self._spec.rank, secret)
        except OSError as error:
            self._not_met(f"the workers of this host cannot meet: {error}")
            return
        self._host_group = host
        start(host.own)
        host.release_own()

    def _start_roles(self, command: commands.Start, inherited: Optional[Inherited]) -> None:
        self._roles.start(command.roles, inherited)
        device = next((role.device for role in command.roles if role.role == "worker"), CPU)
        self._roles.tell_workers(commands.Train(self._spec.rank, command.worker_spec, device))
        if inherited is not None and isinstance(self._host_group, Guest):
            # The worker has them. Kept here too, the memory would outlive it, and the others would not see it die.
            host_group.close(inherited.descriptors())

    def _not_met(self, why: str) -> None:
        raised = events.Raised("role", "NotMet", why, "")
        self._report(("worker", self._spec.rank), shortage.explain(raised, os.getpid(), (str(identity.SOCKET_FOLDER),)))

    def _leave_host_group(self) -> None:
        """Stop meeting the others of this host, if that is still going on: the attempt is over."""
        if self._host_group is not None:
            self._host_group.close()
            self._host_group = None

    def _clear(self, command: commands.Clear) -> None:
        if self._phase is not Phase.ENDING:
            log.warning("attempt %s is over: %s", command.attempt, command.why)
            self._step_to(Phase.CLEARING)
            self._attempt = command.attempt
            self._leave_host_group()
            self._roles.kill()

    def _finish(self, command: commands.Finish) -> None:
        if self._phase is not Phase.ENDING:
            self._step_to(Phase.FINISHING)
            self._roles.tell_workers(command)
            self._roles.leave(self._spec.limits.shutdown_s)

    def _end(self, outcome: str, why: str) -> None:
        if self._phase is not Phase.ENDING:
            log.warning("%s: %s", outcome, why)
            # The phase before all else: each of these lines can report something, and so come back to this method.
            self._step_to(Phase.ENDING)
            self.outcome = {"outcome": outcome, "message": why}
            self._upstream.give_up()
            self._leave_host_group()
            self._roles.kill()

    def _report(self, who: Optional[Who], event: events.Event) -> None:
        self._upstream.report(*(who or ("agent", self._spec.rank)), event)
        # The driver's agent does not keep up. What is not read stays with the roles, and makes them wait in their turn.
        if self._upstream.queued_bytes > FULL_BYTES:
            self._roles.pause(True)
        if isinstance(event, events.Formed) and who is not None and who[0] == "worker":
            self._roles.verify_sockets()

    def _tick(self) -> None:
        if self._upstream.queued_bytes < SLOW_BYTES:
            self._roles.pause(False)
        self._upstream.check_lease()

    def _all_ended(self) -> None:
        # What a role's children did outlives it: they are ours now (PR_SET_CHILD_SUBREAPER), and end with the roles.
        ended = (*self._roles.ended, *process_tree.adopted(set(self._roles.pids())))[:ENDED_LIMIT]
        # Before this agent says that it has cleared: the next attempt may need the memory and the ports they hold.
        orphans = process_tree.kill_children(set(self._roles.pids()), ORPHANS_S)
        left = (*self._roles.left, *(f"process {pid} cannot be killed" for pid in orphans))
        if self._phase is Phase.CLEARING:
            self._say_cleared(left, ended)
            return
        if self._phase is Phase.FINISHING:
            self._step_to(Phase.ENDING)
            self.outcome = {"outcome": FINISHED, "message": ""}
            self._upstream.give_up()
        self.outcome["left"] = list(left)
        # In a turn of its own: whoever caused the end may still want to say why.
        self._loop.after(0, lambda: self._say_farewell(left, ended))

    def _say_cleared(self, left: tuple[str, ...], ended: tuple[str, ...]) -> None:
        """Say that an attempt has no process left, and be ready for the next."""
        attempt, logs = self._attempt, self._roles.logs()
        self._step_to(Phase.SERVING)
        self._attempt = 0
        self._roles = self._make_roles()
        # The logs first: with the last `Cleared` the driver's agent closes its books on the attempt.
        self._report(None, events.Logs(logs))
        self._report(None, events.Cleared(self._spec.rank, attempt, left, ended))

    def _say_farewell(self, left: tuple[str, ...], ended: tuple[str, ...]) -> None:
        self._report(None, events.Logs(self._roles.logs()))
        self._report(None, events.Stopped(self._spec.rank, left, ended))
        self._upstream.flush(FLUSH_S, self._leave)

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(self._scratch)
        self._loop.stop()
