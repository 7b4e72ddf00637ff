"""The agent of one slot: follows the driver's agent, owns the roles of its slot, ends with its task or its lease."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Optional, Union

from mxspark.agent import host_group, role_process, shortage
from mxspark.agent.host_group import Guest, Host
from mxspark.agent.loop import Loop, Stream
from mxspark.agent.roles import Roles
from mxspark.protocol import commands, events, frames
from mxspark.protocol.specs import CPU, AgentSpec, Inherited
from mxspark.system import process_tree, stdio
from mxspark.topology import identity

log = logging.getLogger(__name__)

CONNECT_S, RETRY_S = 10.0, 0.2
TICK_S = 0.1
ENDED_LIMIT = 20  # names of processes that user code left
FLUSH_S = 1.0
ORPHANS_S = 1.0
SLOW_BYTES, FULL_BYTES = 2**18, 2**20  # queued upstream: from here beats are dropped, from there the roles must wait
FINISHED, STOPPED, ORPHANED = "finished", "stopped", "orphaned"


class SlotAgent:
    """The agent of one slot.

    Parameters
    ----------
    scratch : Path
        Where the logs go if nothing else is known; made when needed and removed at the end.
    """

    def __init__(self, loop: Loop, spec: AgentSpec, environment: Mapping[str, str], scratch: Path) -> None:
        self._loop, self._spec, self._scratch = loop, spec, scratch
        folder, prefix = self._log_place(environment)
        self._settings = role_process.Settings(
            sys.executable, spec.sys_path, role_process.base_environment(environment), folder, prefix, spec.entries
        )
        stdio.log_to(folder / f"{prefix}agent-{spec.rank}.log")
        self._roles = self._no_roles(0)
        self._clearing: Optional[int] = None
        self._meeting: Union[Host, Guest, None] = None
        self._upstream: Optional[Stream] = None
        self._joined = self._finishing = False
        self._heard = loop.now()
        self._give_up_at = loop.now() + spec.limits.start_s
        self.outcome: dict[str, object] = {}
        self._connect()
        loop.every(TICK_S, self._tick)
        loop.every(spec.limits.lease_s / 3, lambda: self._say({"beat": 1}))

    def abandon(self, why: str) -> None:
        """The task, or whoever else may end this agent, is gone: kill everything now, then say so."""
        first = not self.outcome
        self._end(ORPHANED, why)
        if first:
            self._report(("agent", self._spec.rank), events.Raised("agent", "Abandoned", why, ""))

    def _no_roles(self, attempt: int) -> Roles:
        """Return what will hold the roles of an attempt."""
        settings, hang_s = self._settings.of_attempt(attempt), self._spec.limits.hang_s
        return Roles(self._loop, settings, hang_s, self._report, self._all_ended)

    def _log_place(self, environment: Mapping[str, str]) -> tuple[Path, str]:
        if self._spec.log_dir is not None:
            # not its parents: they are the driver's, and gone if the driver is
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._spec.log_dir, 0o700)
            return Path(self._spec.log_dir), ""
        container = environment.get("LOG_DIRS", "").split(",")[0]  # YARN collects what lies there
        if container and os.path.isdir(container):
            return Path(container), f"mxspark-{self._spec.run_id}-"
        os.mkdir(self._scratch, 0o700)
        return self._scratch, ""

    def _connect(self) -> None:
        host, port = self._spec.address
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex((host, port))  # the stream finds out how it went
        codec = frames.Secured(bytes.fromhex(self._spec.secret), server=False)
        stream = Stream(self._loop, sock.detach(), codec, self._command, self._lost, self._join)
        self._upstream = stream
        self._loop.after(CONNECT_S, lambda: self._too_slow(stream))

    def _too_slow(self, stream: Stream) -> None:
        if stream is self._upstream and not self._joined and not self.outcome:
            stream.close()
            self._lost(None)

    def _join(self) -> None:
        self._joined = True
        self._heard = self._loop.now()
        host = self._spec.identity or identity.host_identity()
        event = events.Joined(self._spec.rank, os.uname().nodename, host, os.getpid())
        self._report(None, event)

    def _lost(self, error: Optional[frames.WireError]) -> None:
        if self.outcome:
            return
        host, port = self._spec.address
        if self._joined or error is not None:
            self._end(ORPHANED, f"the driver's agent at {host}:{port} is gone: {error or 'the connection closed'}")
        elif self._loop.now() > self._give_up_at:
            limit = f"failure.start_s = {self._spec.limits.start_s:g} s"
            self._end(ORPHANED, f"the driver's agent at {host}:{port} could not be reached within {limit}")
        else:
            self._loop.after(RETRY_S, self._reconnect)

    def _reconnect(self) -> None:
        if not self.outcome:
            self._connect()

    def _command(self, frame: frames.Message) -> None:
        self._heard = self._loop.now()
        if "beat" in frame:
            return
        table: commands.Table = {
            commands.Start: self._start,
            commands.Clear: self._clear,
            commands.Stop: lambda stop: self._end(STOPPED, stop.why),
            commands.DumpStacks: lambda _: self._roles.dump_stacks(),
            commands.Finish: self._finish,
            commands.Committed: self._roles.tell_workers,
            commands.EndEarly: self._roles.tell_workers,
            commands.LastStep: self._roles.tell_workers,
        }
        commands.carry_out(frame, "the agent of a slot", table)

    def _clear(self, command: commands.Clear) -> None:
        if not self.outcome:
            log.warning("attempt %s is over: %s", command.attempt, command.why)
            self._clearing = command.attempt
            self._leave_host_group()
            self._roles.kill()

    def _finish(self, command: commands.Finish) -> None:
        if not self.outcome:
            self._finishing = True
            self._roles.tell_workers(command)
            self._roles.leave(self._spec.limits.shutdown_s)

    def _start(self, command: commands.Start) -> None:
        if self.outcome:
            return
        self._roles = self._no_roles(command.attempt)
        found = next((role.meeting for role in command.roles if role.meeting), None)
        start = partial(self._start_roles, command)
        if found is None or len(found.members) == 1:
            start(Inherited(found.hosts) if found else None)
            return
        secret = bytes.fromhex(self._spec.secret)
        if self._spec.rank != found.members[0]:
            self._meeting = Guest(self._loop, found, self._spec.rank, secret, start, self._not_met)
            return
        try:
            self._meeting = host = Host(self._loop, found, self._spec.rank, secret)
        except OSError as error:
            self._not_met(f"the workers of this host cannot meet: {error}")
            return
        start(host.own)
        host.started()

    def _start_roles(self, command: commands.Start, inherited: Optional[Inherited]) -> None:
        self._roles.start(command.roles, inherited)
        device = next((role.device for role in command.roles if role.role == "worker"), CPU)
        self._roles.tell_workers(commands.Train(self._spec.rank, command.bundle, device))
        if inherited is not None and isinstance(self._meeting, Guest):
            host_group.close(inherited.descriptors())

    def _not_met(self, why: str) -> None:
        raised = events.Raised("role", "NotMet", why, "")
        self._report(("worker", self._spec.rank), shortage.explain(raised, os.getpid(), (str(identity.SOCKET_FOLDER),)))

    def _leave_host_group(self) -> None:
        """Leave the meeting of the attempt, if it is still going on."""
        if self._meeting is not None:
            self._meeting.close()
            self._meeting = None

    def _report(self, who: Optional[tuple[str, int]], event: events.Event) -> None:
        if self._upstream is None or (isinstance(event, events.Beat) and self._upstream.queued_bytes > SLOW_BYTES):
            return
        role, rank = who or ("agent", self._spec.rank)
        self._say({"from": {"role": role, "rank": rank}, **events.to_wire(event)})
        if self._upstream.queued_bytes > FULL_BYTES:
            self._roles.pause(True)
        if isinstance(event, events.Formed) and role == "worker":
            self._roles.verify_sockets()

    def _say(self, message: frames.Message) -> None:
        if self._joined and self._upstream is not None:
            self._upstream.send(message)

    def _tick(self) -> None:
        if self._upstream is not None and self._upstream.queued_bytes < SLOW_BYTES:
            self._roles.pause(False)
        silent_s = self._loop.now() - self._heard
        if self._joined and not self.outcome and silent_s > self._spec.limits.lease_s:
            limit = f"failure.lease_s = {self._spec.limits.lease_s:g} s"
            self._end(ORPHANED, f"the driver's agent was silent for {silent_s:.1f} s ({limit})")

    def _end(self, outcome: str, why: str) -> None:
        if not self.outcome:
            log.warning("%s: %s", outcome, why)
            self.outcome = {"outcome": outcome, "message": why}
            self._leave_host_group()
            self._roles.kill()

    def _all_ended(self) -> None:
        ended = (*self._roles.ended, *process_tree.adopted(set(self._roles.pids())))[:ENDED_LIMIT]
        orphans = process_tree.kill_children(set(self._roles.pids()), ORPHANS_S)
        left = (*self._roles.left, *(f"process {pid} cannot be killed" for pid in orphans))
        if self._clearing is not None and not self.outcome:
            self._cleared(self._clearing, left, ended)
            return
        if self._finishing and not self.outcome:
            self.outcome = {"outcome": FINISHED, "message": ""}
        self.outcome["left"] = list(left)
        # In a turn of its own: whoever caused the end may still want to say why.
        self._loop.after(0, lambda: self._farewell(left, ended))

    def _cleared(self, attempt: int, left: tuple[str, ...], ended: tuple[str, ...]) -> None:
        """Say that an attempt has no process left, and be ready for the next."""
        logs, self._clearing = self._roles.logs(), None
        self._roles = self._no_roles(0)
        self._say({"logs": logs})
        self._report(None, events.Cleared(self._spec.rank, attempt, left, ended))

    def _farewell(self, left: tuple[str, ...], ended: tuple[str, ...]) -> None:
        self._say({"logs": self._roles.logs()})
        self._report(None, events.Stopped(self._spec.rank, left, ended))
        if self._upstream is not None:
            self._upstream.flush(FLUSH_S, self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            shutil.rmtree(self._scratch)
        self._loop.stop()
