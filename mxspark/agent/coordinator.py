"""The driver's agent: meets the agents of all slots, records what they say, decides, and reports to the driver."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Optional

from mxspark import events, topology, values, wire
from mxspark.agent import decide, process
from mxspark.agent.loop import Loop, Stream
from mxspark.agent.roles import TAIL_LINES, Roles
from mxspark.agent.server import ControlServer, Peer
from mxspark.failure import Cause, shorten
from mxspark.specs import DriverAgentSpec, RoleSpec

log = logging.getLogger(__name__)

RANK = -1  # how the driver's agent is called among agents
TICK_S, STACKS_S, STOP_S, FLUSH_S, ORPHANS_S = 0.1, 0.7, 5.0, 2.0, 1.0
SLOW_BYTES, STUCK_BYTES = 2**18, 2**26  # queued for the driver: from here beats are dropped, from there it is given up


# The last frame to the driver holds them all, and six bytes for a character that is not ASCII.
LOGS_LIMIT, OTHERS_LIMIT, TEXT_LIMIT = 2**20, 16, 2**16


def _short(cause: Cause, among: int = OTHERS_LIMIT) -> Cause:
    """Return a cause that shares `TEXT_LIMIT` with others."""
    room = TEXT_LIMIT // among
    return replace(
        cause,
        message=shorten(cause.message, room),
        traceback=shorten(cause.traceback, room),
        log_tail=shorten(cause.log_tail, room),
    )


class Coordinator:
    """The driver's agent.

    Parameters
    ----------
    driver : Stream
        The connection to the driver.
    """

    def __init__(self, loop: Loop, spec: DriverAgentSpec, environment: Mapping[str, str], driver: Stream) -> None:
        self._loop, self._spec, self._driver = loop, spec, driver
        folder = Path(spec.log_dir)
        os.makedirs(folder, exist_ok=True)
        process.log_to(folder / "agent-driver.log")
        self._attempt = decide.Attempt(spec.size, spec.limits, os.uname().nodename, spec.identity, spec.same_host)
        self._attempt.slot_of.update({(role.role, role.rank): None for role in spec.roles})
        self._plans: Optional[list[wire.Message]] = None
        self._sockets = [role.socket for role in spec.roles if role.socket]
        self._peers: dict[int, Peer] = {}
        self._logs: dict[str, str] = {}
        self._stopped: set[int] = set()
        self._cause: Optional[Cause] = None
        self._ended = self._stopping = self._interrupted = False
        settings = process.Settings(
            sys.executable, spec.sys_path, process.base_environment(environment), folder, "", spec.entries
        )
        self._roles = Roles(loop, settings, self._own_report, self._own_ended)
        self._server = ControlServer(loop, spec.bind, bytes.fromhex(spec.secret), self._heard, self._lost)
        self._tell_driver({"event": "Listening", "address": list(self._server.address)})
        self._roles.start(spec.roles)
        loop.every(TICK_S, self._tick)
        loop.every(spec.limits.lease_s / 3, self._beat)

    def _beat(self) -> None:
        self._tell_agents({"beat": 1})
        if not self._driver.queued_bytes:
            self._tell_driver({"beat": 1})

    @property
    def succeeded(self) -> bool:
        """Whether the attempt came to its end without failure."""
        return self._attempt.verdict == decide.FINISH and self._cause is None

    def command(self, frame: wire.Message) -> None:
        """Take a command of the driver."""
        do = frame.get("do")
        if do == "begin":
            self._begin(frame)
        elif do == "stop":
            self.interrupt(str(frame.get("why", "the driver asked for it")))
        elif do == "committed":
            if self._attempt.progress_at is not None:
                self._attempt.progress_at = self._loop.now()
            self._tell_agents({"do": "committed", "step": frame["step"]})
        else:
            raise ValueError(f"the driver sent an unknown command: {frame!r:.200}")

    def interrupt(self, why: str) -> None:
        """End the attempt because somebody wants it."""
        if self._interrupted:
            self._loop.stop()  # whoever says it twice means it
        self._interrupted = True
        if self._attempt.verdict == decide.WAIT:
            self._fail(Cause("interrupted", "agent", RANK, self._attempt.host, os.getpid(), why))
        else:
            self._stop_all(why)

    def _begin(self, frame: wire.Message) -> None:
        slots = [values.decode(tuple[RoleSpec, ...], slot) for slot in frame["slots"]]
        if len(slots) != self._spec.size or self._plans is not None:
            raise ValueError(f"'begin' is said once, for {self._spec.size} slots; it came for {len(slots)}")
        roles = [(role, slot) for slot, roles in enumerate(slots) for role in roles]
        self._sockets += [role.socket for role, _ in roles if role.socket]
        self._attempt.begin({(role.role, role.rank): slot for role, slot in roles}, self._loop.now())
        self._plans = [
            {"attempt": frame["attempt"], "roles": values.encode(slot), "bundle": frame["bundle"]} for slot in slots
        ]
        for rank, peer in self._peers.items():
            peer.send({"do": "start", "attempt": self._plans[rank]})

    def _heard(self, peer: Peer, frame: wire.Message) -> None:
        peer.heard = self._loop.now()
        try:
            said = self._understand(peer, frame)
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

    def _understand(self, peer: Peer, frame: wire.Message) -> Optional[tuple[decide.Who, events.Event]]:
        """Return who says what; None for a beat and for logs."""
        if "beat" in frame:
            return None
        if "logs" in frame:
            self._logs.update({str(name): str(text) for name, text in frame["logs"].items()})
            return None
        body = dict(frame)
        source = body.pop("from")
        who = (str(source["role"]), int(source["rank"]))
        event = events.from_wire(body)
        if isinstance(event, events.Joined):
            return who, event
        if peer.rank is None:
            raise ValueError("it must join first")
        if who != ("agent", peer.rank) and self._attempt.slot_of.get(who) != peer.rank:
            raise ValueError(f"{who} is not of slot {peer.rank}")
        return who, event

    def _join(self, peer: Peer, event: events.Joined) -> None:
        if not 0 <= event.rank < self._spec.size or event.rank in self._attempt.joined or peer.rank is not None:
            self._server.drop(peer, f"slot {event.rank} of {self._spec.size} has joined before, or does not exist")
        elif self._attempt.verdict != decide.WAIT:
            self._server.drop(peer, "the attempt is over")
        else:
            peer.rank = event.rank
            self._server.know(peer)
            self._peers[event.rank] = peer
            self._attempt.join(event)
            if self._plans is not None and not self._attempt.failures:
                peer.send({"do": "start", "attempt": self._plans[event.rank]})

    def _lost(self, peer: Peer, reason: str) -> None:
        if peer.rank is not None:
            self._attempt.lose(peer.rank, reason)
            self._act()

    def _own_report(self, who: Optional[tuple[str, int]], event: events.Event) -> None:
        self._record(who or ("agent", RANK), who, event)

    def _record(self, source: tuple[str, int], who: Optional[tuple[str, int]], event: events.Event) -> None:
        if isinstance(event, events.Stopped):
            self._stopped.add(event.rank)
        formed = self._attempt.formed_at
        self._attempt.record(who, event, self._loop.now())
        if not (isinstance(event, events.Beat) and self._driver.queued_bytes > SLOW_BYTES):
            self._tell_driver({"from": {"role": source[0], "rank": source[1]}, **events.to_wire(event)})
        if formed is None and self._attempt.formed_at is not None:
            self._roles.verify_sockets()
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
        decision = decide.decide(self._attempt, self._loop.now())
        if decision.action == decide.FAIL and decision.cause is not None:
            self._fail(decision.cause)
        elif decision.action == decide.FINISH:
            self._finish()
        elif decision.action == decide.ENDED:
            self._end()

    def _fail(self, cause: Cause) -> None:
        self._attempt.verdict = decide.FAIL
        self._cause = cause
        log.error("the attempt failed: %s", cause.describe())
        if cause.kind in ("hang", "start"):
            self._roles.dump_stacks()
            self._tell_agents({"do": "stacks"})
            self._loop.after(STACKS_S, lambda: self._stop_all(cause.message))
        else:
            self._stop_all(cause.message)

    def _finish(self) -> None:
        self._attempt.verdict = decide.FINISH
        self._roles.leave(self._spec.limits.shutdown_s)
        self._tell_agents({"do": "finish"})
        self._loop.after(self._spec.limits.shutdown_s + STOP_S, lambda: self._stop_all("the others have ended"))

    def _stop_all(self, why: str) -> None:
        if not self._stopping:
            self._stopping = True
            self._tell_agents({"do": "stop", "why": why})
            self._roles.kill()
            self._loop.after(STOP_S, self._end)
            self._act()

    def _own_ended(self) -> None:
        self._attempt.own_roles_ended = True
        self._logs.update(self._roles.logs())
        self._loop.after(0, self._act)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        but = {os.getpid(), os.getppid()}
        left = process.kill_tagged(topology.RUN_TAG, self._spec.run_id, but, ORPHANS_S)
        if left:
            log.warning("processes that had outlived their agents were killed: %s", sorted(left))
        self._kill_silent_agents()
        for path in self._sockets:
            process.remove_socket(path)
        self._record_end()
        self._server.close()
        self._flush(self._loop.now() + FLUSH_S)

    def _kill_silent_agents(self) -> None:
        """End the agents on this host that did not say they had stopped: one that is itself stopped cannot."""
        for rank, joined in self._attempt.joined.items():
            if rank not in self._stopped and joined.identity == self._spec.identity:
                process.kill_agent(joined.pid)

    def _record_end(self) -> None:
        cause, others = self._cause, self._attempt.failures
        if cause is not None:
            name = f"{cause.role}-{cause.rank}"
            if not cause.log_tail and name in self._logs:
                lines = self._logs[name].splitlines(keepends=True)
                cause = replace(cause, log_tail="".join(lines[-(100 if cause.kind == "hang" else TAIL_LINES) :]))
            others = [_short(other) for other in others if other is not self._cause]
        room = LOGS_LIMIT // max(1, len(self._logs))
        logs = {name: text[-room:] for name, text in self._logs.items()}
        event = events.Ended(_short(cause, 1) if cause else None, tuple(others[:OTHERS_LIMIT]), logs)
        self._tell_driver({"from": {"role": "agent", "rank": RANK}, **events.to_wire(event)})

    def _flush(self, deadline: float) -> None:
        if self._driver.open and self._driver.queued_bytes and self._loop.now() < deadline:
            self._loop.after(0.01, lambda: self._flush(deadline))
        else:
            self._loop.stop()

    def _tell_agents(self, message: wire.Message) -> None:
        for peer in self._peers.values():
            peer.send(message)

    def _tell_driver(self, message: wire.Message) -> None:
        self._driver.send(message)
        if self._driver.queued_bytes > STUCK_BYTES:
            self._driver.close()
            self._loop.after(0, lambda: self.interrupt("the driver does not read what its agent reports"))
