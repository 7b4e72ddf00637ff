"""The driver's agent: meets the agents of all slots, makes attempts with them, and reports to the driver."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from mxspark.agent import role_process
from mxspark.agent.attempt import Attempt, Phase
from mxspark.agent.conductor import STOP_S, Conductor
from mxspark.agent.connections import Connections
from mxspark.agent.driver_line import DriverLine
from mxspark.agent.inbox import understand
from mxspark.agent.server import Peer
from mxspark.errors import InternalError
from mxspark.errors.cause import Cause
from mxspark.errors.phase import advance
from mxspark.protocol import commands, events, frames
from mxspark.protocol.specs import DRIVER, DriverAgentSpec
from mxspark.protocol.stream import Stream
from mxspark.system import stdio
from mxspark.system.loop import Loop

TICK_S = 0.1
FLUSH_S = 2.0
RESUME_S = 900.0  # for the driver to fetch a checkpoint and begin the next attempt


class Service(Enum):
    """What the driver's agent is there for; each attempt has phases of its own."""

    SERVING = "takes commands and makes attempts"
    STOPPING = "agents were told to end, as they had not by themselves"
    INTERRUPTED = "somebody wants the end"
    ENDED = "the last word is on its way"


STEPS = {
    Service.SERVING: (Service.STOPPING, Service.INTERRUPTED, Service.ENDED),
    Service.STOPPING: (Service.INTERRUPTED, Service.ENDED),
    Service.INTERRUPTED: (Service.ENDED,),
    Service.ENDED: (),
}


class Coordinator:
    """The driver's agent: attempt after attempt on the same agents, until one succeeds or `driver` says stop."""

    def __init__(self, loop: Loop, spec: DriverAgentSpec, environment: Mapping[str, str], driver: Stream) -> None:
        self._loop = loop
        self._spec = spec
        self._driver = DriverLine(loop, driver, self.interrupt)
        folder = Path(spec.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        stdio.log_to(folder / "agent-driver.log")
        self._settings = role_process.Settings(
            sys.executable, spec.sys_path, role_process.base_environment(environment), folder, "", spec.entries
        )
        self._service = Service.SERVING
        self._agents = Connections(loop, spec, self._take, self._lost)
        self._lead(Attempt(spec, os.uname().nodename, spec.first))
        self._driver.tell(events.Listening(self._agents.address))
        loop.every(TICK_S, self._tick)
        loop.every(spec.limits.lease_s / 3, self._beat)

    @property
    def succeeded(self) -> bool:
        """Whether the attempt came to its end without failure."""
        return self._attempt.phase is Phase.OVER and self._conductor.remains.cause is None

    @property
    def _attempt(self) -> Attempt:
        return self._conductor.attempt

    def _lead(self, attempt: Attempt) -> None:
        """Make ready for an attempt: nothing that comes late from one before it can be taken for its own."""
        self._conductor = Conductor(
            self._loop,
            attempt,
            self._settings.of_attempt(attempt.number),
            self._agents,
            self._driver,
            on_over=self._after_attempt,
            on_stuck=lambda why: self._end_agents(why, Service.STOPPING),
        )

    def command(self, frame: frames.Message) -> None:
        """Carry out what the driver says."""
        table: commands.Table = {
            commands.Begin: self._begin,
            commands.Stop: lambda stop: self.interrupt(stop.why),
            commands.Committed: self._committed,
            commands.EndEarly: self._end_early,
        }
        commands.carry_out(frame, "the driver's agent", table)

    def _begin(self, begin: commands.Begin) -> None:
        if self._service is not Service.SERVING:
            return  # the driver does not know yet; the end of the attempt is on its way to it
        if self._attempt.phase is Phase.OVER and begin.attempt == self._attempt.number + 1:
            self._lead(self._attempt.next())
        elif begin.attempt != self._attempt.number or self._attempt.begun_at is not None:
            raise InternalError(
                f"the driver began attempt {begin.attempt} in attempt {self._attempt.number}, of which "
                f"{self._attempt.phase.value}; please report it with the run's folder"
            )
        if self._attempt.is_open:  # else it failed before it was begun; the driver is about to read so
            self._conductor.begin(begin)

    def _committed(self, command: commands.Committed) -> None:
        # rank 0 waits for this word, and all wait for rank 0: a slow filesystem is no hang of the workers
        self._attempt.get_on(self._loop.now())
        self._agents.tell(command)

    def _end_early(self, command: commands.EndEarly) -> None:
        """End the attempt at a step that all workers agree on; they then make a last checkpoint."""
        if self._attempt.is_training():
            self._agents.tell(command)
        elif self._attempt.is_open:  # a worker that has not started has nothing to save, and would not answer
            self.interrupt(command.why)

    def look_at_driver(self, pid: int, still_s: float) -> None:
        """Take note of how long the driver has been stopped by a signal, 0 where it runs."""
        self._attempt.look_at_driver(pid, still_s)

    def interrupt(self, why: str) -> None:
        """End the attempt, if there is one, and everything, because somebody wants it."""
        if self._service is Service.INTERRUPTED:
            self._loop.stop()  # whoever says it twice means it
        elif self._service is not Service.ENDED:
            if self._attempt.is_open:
                self._conductor.break_off(Cause.here("interrupted", "agent", why, rank=DRIVER))
            self._end_agents(why, Service.INTERRUPTED)

    def _take(self, peer: Peer, frame: frames.Message) -> None:
        """Take what an agent says; if it makes no sense the agent is of another version, or none of ours."""
        peer.heard = self._loop.now()
        try:
            report = understand(frame, peer.rank, self._attempt)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"its agent sent a frame that makes no sense: {error!r:.300}"
            self._agents.refuse(peer, reason)
            self._lost(peer, reason)
            return
        if report is None:
            return
        who, event = report
        if isinstance(event, events.Logs):
            self._conductor.remains.logs.update(event.logs)
            return
        if isinstance(event, events.Joined):
            self._join(peer, event)
        if peer.stream.open:  # it has not been refused
            from_agent = who[0] == "agent" and not isinstance(event, events.Raised)
            self._conductor.note(who, None if from_agent else who, event)
            self._check_end()

    def _join(self, peer: Peer, event: events.Joined) -> None:
        known = event.rank in self._attempt.agents.joined or peer.rank is not None
        if known or not 0 <= event.rank < self._spec.size:
            self._agents.refuse(peer, f"slot {event.rank} of {self._spec.size} has joined before, or does not exist")
        elif self._service is not Service.SERVING:
            self._agents.refuse(peer, "the run is over")
        else:
            self._agents.admit(peer, event.rank)
            self._attempt.join(event)

    def _lost(self, peer: Peer, reason: str) -> None:
        if peer.rank is not None:
            self._attempt.lose(peer.rank, reason)
            self._act()

    def _tick(self) -> None:
        lease_s = self._spec.limits.lease_s
        for rank, silent_s in self._agents.silent(self._loop.now(), lease_s):
            if rank not in self._attempt.agents.gone:
                reason = f"its agent was silent for {silent_s:.1f} s (failure.lease_s = {lease_s:g} s)"
                self._agents.drop(rank, reason)
                self._attempt.lose(rank, reason)
        self._act()

    def _beat(self) -> None:
        self._agents.beat()
        self._driver.beat()

    def _act(self) -> None:
        self._conductor.act()
        self._check_end()

    def _check_end(self) -> None:
        """End, where that is wanted and the last agent has gone: nobody is left who could say anything."""
        is_wanted = self._service in (Service.STOPPING, Service.INTERRUPTED)
        if is_wanted and self._attempt.phase is Phase.OVER and not self._attempt.agents.alive():
            self._end()

    def _after_attempt(self, word: events.Ended) -> None:
        """End after success; after a failure wait for the driver to say how to go on, but not for ever."""
        if word.cause is None:
            self._end()
            return
        conductor = self._conductor
        self._loop.after(RESUME_S, lambda: self._tire_of(conductor))
        self._loop.after(0, self._act)

    def _tire_of(self, conductor: Conductor) -> None:
        if conductor is self._conductor:
            self.interrupt(f"the driver did not say within {RESUME_S:g} s how to go on")

    def _end_agents(self, why: str, service: Service) -> None:
        """End the agents, and with them this one."""
        is_first = self._service is Service.SERVING
        if is_first or service is Service.INTERRUPTED:
            self._service = advance("the driver's agent", self._service, service, STEPS)
        if is_first:
            self._agents.tell(commands.Stop(why))
            self._conductor.kill_roles()
            self._loop.after(STOP_S, self._end)  # whether or not they have ended: one that is stopped never will
            self._act()

    def _end(self) -> None:
        if self._service is Service.ENDED:
            return
        self._service = advance("the driver's agent", self._service, Service.ENDED, STEPS)
        if self._attempt.phase is not Phase.OVER:
            self._conductor.end()
        # Also those that are well: they were told, and have had their time.
        self._conductor.remains.kill_agents(self._attempt.agents.joined)
        self._agents.close()
        self._driver.flush(FLUSH_S, self._loop.stop)
