"""The driver's agent: meets the agents of all slots, records what they say, decides, and reports to the driver."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from mxspark.agent import decide, ending, role_process
from mxspark.agent.attempt import FAIL, FINISH, WAIT, Attempt
from mxspark.agent.diagnosis import blame
from mxspark.agent.driver_line import DriverLine
from mxspark.agent.inbox import understand
from mxspark.agent.loop import Loop, Stream, Timer
from mxspark.agent.roles import Roles
from mxspark.agent.server import ControlServer, Peer
from mxspark.errors import InternalError
from mxspark.errors.cause import Cause
from mxspark.protocol import commands, events, frames
from mxspark.protocol.specs import DriverAgentSpec
from mxspark.system import ports, stdio
from mxspark.topology.placement import plan_roles

log = logging.getLogger(__name__)

RANK = -1  # how the driver's agent is called among agents
TICK_S, STACKS_S, CLEAR_S, STOP_S, FLUSH_S = 0.1, 1.0, 5.0, 5.0, 2.0
RESUME_S = 900.0  # for the driver to fetch a checkpoint and begin the next attempt


class Coordinator:
    """The driver's agent: attempt after attempt on the same agents, until one succeeds or `driver` says stop."""

    def __init__(self, loop: Loop, spec: DriverAgentSpec, environment: Mapping[str, str], driver: Stream) -> None:
        self._loop, self._spec = loop, spec
        self._driver = DriverLine(loop, driver, self.interrupt)
        os.makedirs(folder := Path(spec.log_dir), exist_ok=True)
        stdio.log_to(folder / "agent-driver.log")
        self._attempt = Attempt.first(spec, os.uname().nodename)
        self._begun: Optional[commands.Begin] = None
        self._sockets: tuple[str, ...] = ()
        self._peers: dict[int, Peer] = {}
        self._logs: dict[str, str] = {}
        self._stopped: set[int] = set()
        self._cause: Optional[Cause] = None
        self._over = False  # the attempt; the driver then says how to go on
        self._patience: Timer
        self._ended = self._stopping = self._interrupted = False
        self._settings = role_process.Settings(
            sys.executable, spec.sys_path, role_process.base_environment(environment), folder, "", spec.entries
        )
        self._roles = self._no_roles()
        self._server = ControlServer(loop, spec.bind, bytes.fromhex(spec.secret), self._heard, self._lost)
        self._driver.tell(events.Listening(self._server.address))
        loop.every(TICK_S, self._tick)
        loop.every(spec.limits.lease_s / 3, self._beat)

    def _no_roles(self) -> Roles:
        attempt, settings = self._attempt, self._settings.of_attempt(self._attempt.number)
        report = lambda who, event: self._record(who or ("agent", RANK), who, event)  # noqa: E731
        return Roles(self._loop, settings, self._spec.limits.hang_s, report, lambda: self._own_ended(attempt))

    def _beat(self) -> None:
        for peer in self._peers.values():
            peer.send({"beat": 1})
        self._driver.beat()

    @property
    def succeeded(self) -> bool:
        """Whether the attempt came to its end without failure."""
        return self._over and self._attempt.verdict == FINISH

    def command(self, frame: frames.Message) -> None:
        """Take a command of the driver."""
        table: commands.Table = {
            commands.Begin: self._begin,
            commands.Stop: lambda stop: self.interrupt(stop.why),
            commands.Committed: self._committed,
            commands.EndEarly: self._end_early,
        }
        commands.carry_out(frame, "the driver's agent", table)

    def _committed(self, command: commands.Committed) -> None:
        self._attempt.go_on(self._loop.now())
        self._tell_agents(command)

    def _end_early(self, command: commands.EndEarly) -> None:
        """End the attempt at a step that all workers agree on; they then make a last checkpoint."""
        if self._attempt.is_training():
            self._tell_agents(command)
        elif self._attempt.verdict == WAIT:
            self.interrupt(command.why)

    def look_at_driver(self, pid: int, still_s: float) -> None:
        """Take note of how long the driver has been stopped by a signal, 0 where it runs."""
        self._attempt.look_at_driver(pid, still_s)

    def interrupt(self, why: str) -> None:
        """End the attempt, if there is one, and everything, because somebody wants it."""
        if self._interrupted:
            self._loop.stop()  # whoever says it twice means it
        self._interrupted = True
        if self._attempt.verdict == WAIT:
            self._attempt.verdict = FAIL
            self._cause = Cause.here("interrupted", "agent", why, rank=RANK)
        self._stop_all(why)

    def _begin(self, begin: commands.Begin) -> None:
        if self._stopping:
            return
        if self._over and begin.attempt == self._attempt.number + 1:
            self._prepare_next()
        elif self._begun is not None or begin.attempt != self._attempt.number:
            raise InternalError(ending.misfit(begin.attempt, self._attempt, self._over))
        self._begun = begin
        self._attempt.begin(self._loop.now())
        self._act()

    def _prepare_next(self) -> None:
        """Put the next attempt in the place of the one that is over."""
        self._patience.cancel()
        self._attempt = self._attempt.next()
        self._cause, self._over, self._logs, self._sockets = None, False, {}, ()
        self._roles = self._no_roles()

    def _place_roles(self, begin: commands.Begin) -> None:
        """Give each role its place and have all of them started.

        The driver is told first: should this process be killed, the driver removes the sockets.
        """
        attempt = self._attempt
        try:
            run, host = self._spec.run_id, self._spec.bind
            group = plan_roles(begin.group, attempt.identities(), run, host, free_ports=ports.free_ports)
        except ValueError as error:
            attempt.fail("host", ("driver", 0), f"the roles cannot be placed: {error}")
            self._act()
            return
        self._sockets = group.sockets()
        attempt.slot_of.update(group.slot_of())
        self._driver.tell(events.Placed(begin.attempt, group.hosts, self._sockets))
        for rank, roles in enumerate(group.slots):
            self._peers[rank].send(commands.to_wire(commands.Start(begin.attempt, roles, begin.bundle)))
        self._roles.start(group.driver)

    def _heard(self, peer: Peer, frame: frames.Message) -> None:
        peer.heard = self._loop.now()
        try:
            if "logs" in frame:
                self._logs.update({str(name): str(text) for name, text in dict(frame["logs"]).items()})
                return
            said = understand(frame, peer.rank, self._attempt)
        except (KeyError, TypeError, ValueError) as error:
            self._server.drop(peer, f"it sent a frame that makes no sense: {error!r:.300}")
            self._lost(peer, f"its agent sent a frame that makes no sense: {error!r:.300}")
            return
        if said is not None and isinstance(said[1], events.Joined):
            self._join(peer, said[1])
        if said is not None and peer.stream.open:
            who, event = said
            from_agent = who[0] == "agent" and not isinstance(event, events.Raised)
            self._record(who, None if from_agent else who, event)

    def _join(self, peer: Peer, event: events.Joined) -> None:
        if not 0 <= event.rank < self._spec.size or event.rank in self._attempt.joined or peer.rank is not None:
            self._server.drop(peer, f"slot {event.rank} of {self._spec.size} has joined before, or does not exist")
        elif self._stopping:
            self._server.drop(peer, "the run is over")
        else:
            peer.rank = event.rank
            self._server.know(peer)
            self._peers[event.rank] = peer
            self._attempt.join(event)

    def _lost(self, peer: Peer, reason: str) -> None:
        if peer.rank is not None:
            self._attempt.lose(peer.rank, reason)
            self._act()

    def _record(self, source: tuple[str, int], who: Optional[tuple[str, int]], event: events.Event) -> None:
        if isinstance(event, events.Stopped):
            self._stopped.add(event.rank)
        formed, last = self._attempt.formed_at, self._attempt.last_step()
        self._attempt.record(who, event, self._loop.now())
        self._driver.report(*source, event)
        if formed is None and self._attempt.formed_at is not None:
            self._roles.verify_sockets()
        agreed = self._attempt.last_step()
        if agreed is not None and agreed != last:
            self._tell_agents(commands.LastStep(agreed))
        self._act()

    def _tick(self) -> None:
        now, lease_s = self._loop.now(), self._spec.limits.lease_s
        for rank, peer in self._peers.items():
            if rank not in self._attempt.gone and now - peer.heard > lease_s:
                reason = f"its agent was silent for {now - peer.heard:.1f} s (failure.lease_s = {lease_s:g} s)"
                self._server.drop(peer, reason)
                self._attempt.lose(rank, reason)
        self._act()

    def _act(self) -> None:
        if self._over:
            if self._stopping and set(self._attempt.gone).issuperset(self._attempt.joined):
                self._end()
            return
        decision = decide.decide(self._attempt, self._loop.now())
        if decision.action == FAIL and decision.cause is not None:
            self._fail(decision.cause)
        elif decision.action == decide.PLACE and self._begun is not None:
            self._place_roles(self._begun)
        elif decision.action == FINISH:
            self._finish()
        elif decision.action == decide.ENDED:
            self._end_attempt()

    def _fail(self, cause: Cause) -> None:
        self._attempt.verdict = FAIL
        self._cause = cause
        log.error("attempt %d failed: %s", self._attempt.number, cause.describe())
        if not cause.traits.is_examined:
            self._clear(cause.message)
            return
        self._roles.dump_stacks()
        self._tell_agents(commands.DumpStacks())
        self._loop.after(STACKS_S, lambda: self._blame(cause))

    def _blame(self, cause: Cause) -> None:
        self._cause = blame(self._attempt, cause)
        self._clear(self._cause.message)

    def _clear(self, why: str) -> None:
        """End the roles of the attempt; the agents live on."""
        attempt = self._attempt
        self._tell_agents(commands.Clear(attempt.number, why))
        self._roles.kill()
        self._loop.after(CLEAR_S, lambda: self._give_up(attempt))
        self._act()

    def _give_up(self, attempt: Attempt) -> None:
        """Let go of agents that have not ended the roles of an attempt: they are stopped, or the machine is."""
        if attempt is not self._attempt or self._over or self._stopping:
            return
        for rank in set(attempt.joined) - attempt.cleared - set(attempt.gone):
            reason = f"its agent did not end its roles within {CLEAR_S:g} s"
            self._server.drop(self._peers[rank], reason)
            attempt.lose(rank, reason)
        attempt.own_roles_ended = True
        self._act()

    def _finish(self) -> None:
        self._attempt.verdict = FINISH
        self._roles.leave(self._spec.limits.shutdown_s)
        self._tell_agents(commands.Finish())
        self._loop.after(self._spec.limits.shutdown_s + STOP_S, lambda: self._stop_all("the others have ended"))

    def _stop_all(self, why: str) -> None:
        """End the agents, and with them this one."""
        if not self._stopping:
            self._stopping = True
            self._tell_agents(commands.Stop(why))
            self._roles.kill()
            self._loop.after(STOP_S, self._end)
            self._act()

    def _own_ended(self, attempt: Attempt) -> None:
        attempt.own_roles_ended = True
        if attempt is self._attempt:
            self._logs.update(self._roles.logs())
            self._loop.after(0, self._act)

    def _end_attempt(self) -> None:
        """Nothing of the attempt is left running: clean up, report, and wait for the driver or end."""
        self._over = True
        ending.clean_up(self._spec.run_id, self._sockets)
        ending.kill_agents(self._attempt, set(self._attempt.gone) - self._stopped)
        self._driver.report("agent", RANK, ending.ended(self._attempt, self._cause, self._logs, self._roles.suffix))
        if self._attempt.verdict == FINISH:
            self._end()
        else:
            why = f"the driver did not say within {RESUME_S:g} s how to go on"
            self._patience = self._loop.after(RESUME_S, lambda: self.interrupt(why))
            self._loop.after(0, self._act)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if not self._over:
            self._end_attempt()
        ending.kill_agents(self._attempt, set(self._attempt.joined) - self._stopped)
        self._server.close()
        self._driver.flush(FLUSH_S, self._loop.stop)

    def _tell_agents(self, command: commands.Command) -> None:
        for peer in self._peers.values():
            peer.send(commands.to_wire(command))
