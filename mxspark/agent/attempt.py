"""The recorded facts of one attempt, as the driver's agent hears them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Optional

from mxspark.errors.cause import Cause, describe_exit
from mxspark.errors.kinds import KINDS
from mxspark.protocol import events
from mxspark.protocol.specs import DriverAgentSpec, Limits
from mxspark.topology.identity import explain_difference

WAIT, FAIL, FINISH = "wait", "fail", "finish"
Who = tuple[str, int]


@dataclass
class Attempt:
    """The recorded facts of one attempt. Times are seconds on one monotonic clock.

    Attributes
    ----------
    number : int
        Counts the attempts of this gang from 1.
    joined, gone : dict
        Agents that came, and the slots whose agent is gone with the reason; both outlive the attempt.
    cleared : set of int
        Slots whose agent has ended the roles of this attempt.
    slot_of : dict
        Slot of each role (role, rank), once every role has its place; the driver's own is None.
    failures : list of Cause
        In order of arrival: the first is the cause, the others are its company.
    verdict : str
        ``fail`` or ``finish`` once that is decided, else ``wait``.
    """

    size: int
    limits: Limits
    host: str
    identity: str
    same_host: bool
    number: int = 1
    slot_of: dict[Who, Optional[int]] = field(default_factory=dict)
    begun_at: Optional[float] = None
    formed_at: Optional[float] = None
    progress_at: Optional[float] = None
    joined: dict[int, events.Joined] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    cleared: set[int] = field(default_factory=set)
    pids: dict[Who, int] = field(default_factory=dict)
    loaded: set[Who] = field(default_factory=set)
    formed: set[Who] = field(default_factory=set)
    started: set[Who] = field(default_factory=set)
    steps: dict[Who, int] = field(default_factory=dict)
    ready: dict[Who, int] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    examined: dict[Who, events.Examined] = field(default_factory=dict)
    failures: list[Cause] = field(default_factory=list)
    own_roles_ended: bool = False
    verdict: str = WAIT

    @classmethod
    def first(cls, spec: DriverAgentSpec, host: str) -> Attempt:
        """Return the first attempt of a gang, before the driver has begun it."""
        return cls(spec.size, spec.limits, host, spec.identity, spec.same_host, spec.first)

    def workers(self) -> list[Who]:
        """Return all workers of the attempt."""
        return [("worker", rank) for rank in range(self.size)]

    def is_training(self) -> bool:
        """Tell whether every worker trains, so that the attempt can be asked to end early."""
        return self.verdict == WAIT and not self.failures and self.started.issuperset(self.workers())

    def last_step(self) -> Optional[int]:
        """Return the step to end early at, the first that no worker has passed; None until all have named theirs."""
        return max(self.ready.values()) if len(self.ready) == self.size else None

    def next(self) -> Attempt:
        """Return the attempt that follows this one on the same agents."""
        return Attempt(
            self.size,
            self.limits,
            self.host,
            self.identity,
            self.same_host,
            number=self.number + 1,
            joined=self.joined,
            gone=self.gone,
        )

    def lost(self, cause: Optional[Cause]) -> tuple[int, ...]:
        """Return the slots that cannot take part in a next attempt: their agent is gone, or never came in time."""
        if self.verdict == FINISH:
            return ()
        absent = set(range(self.size)) - set(self.joined)
        late = absent if cause is not None and cause.traits.gives_up_absent else set()
        return tuple(sorted(set(self.gone) | late))

    def begin(self, now: float) -> None:
        """The driver wants it: the clock of the start runs."""
        self.begun_at = now
        for rank, reason in self.gone.items():  # between the attempts
            self.fail("agent", ("agent", rank), reason)

    def join(self, event: events.Joined) -> None:
        """An agent is there; on another host that may be an error."""
        self.joined[event.rank] = event
        if self.verdict != WAIT:
            self.cleared.add(event.rank)  # it has nothing to clear
        if self.same_host and event.identity != self.identity:
            self.fail(
                "host",
                ("agent", event.rank),
                f"it runs on {event.host}, the driver on {self.host}, and "
                f"{explain_difference(self.identity, event.identity)}. "
                "The roles of a job meet on one host, as one user; run all tasks on the driver's host, and as its user "
                "(several hosts are not supported yet)",
            )

    def identities(self) -> list[str]:
        """Return on which host each agent is, once all have joined."""
        return [self.joined[rank].identity for rank in range(self.size)]

    def go_on(self, now: float) -> None:
        """Something that workers wait for has happened: from now on they may be expected to move."""
        if self.progress_at is not None:
            self.progress_at = now

    def lose(self, rank: int, reason: str) -> None:
        """The agent of a slot is gone."""
        if rank not in self.gone:
            self.gone[rank] = reason
            if self.verdict == WAIT:
                self.fail("agent", ("agent", rank), reason)

    def look_at_driver(self, pid: int, still_s: float) -> None:
        """End the attempt of a driver that is stopped by a signal; once it goes on it may begin another."""
        lease_s = self.limits.lease_s
        if still_s > lease_s and self.verdict == WAIT and self.begun_at is not None:
            words = f"it was stopped by a signal for {still_s:.0f} s (failure.lease_s = {lease_s:g} s)"
            self.fail("stopped", ("driver", 0), words, pid=pid, signal="SIGSTOP")

    def record(self, who: Optional[Who], event: events.Event, now: float) -> None:
        """Take in what a role said (`who`), or an agent said of a role (None)."""
        if isinstance(event, events.RoleStarted):
            self.pids[event.role, event.rank] = event.pid
        elif isinstance(event, events.RoleEnded):
            if not event.expected:
                self._ended(event)
        elif isinstance(event, events.Examined):
            self.examined[event.role, event.rank] = event
        elif isinstance(event, events.Stopped):
            self.lose(event.rank, "its agent has ended, without being asked")
        elif isinstance(event, events.Cleared):
            if event.attempt == self.number:
                self.cleared.add(event.rank)
        elif who is not None:
            self._heard(who, event, now)

    def fail(self, kind: str, who: Who, message: str, **details: object) -> None:
        """Add a failure of a role or agent."""
        role, rank = who
        pid = self.pids.get(who, self._agent_pid(who))
        cause = Cause(kind, role, rank, self._host(who), pid=pid, message=message)
        self.failures.append(replace(cause, step=max(self.steps.values(), default=None), **details))  # type: ignore[arg-type]

    def _heard(self, who: Who, event: events.Event, now: float) -> None:
        if isinstance(event, events.Raised):
            if event.step is not None:
                self.steps[who] = event.step  # newer than its last beat
            kind = KINDS[event.who]
            text = f"{event.type}: {event.message}" if kind.names_exception else event.message
            self.fail(kind.name, who, text, traceback=event.traceback if kind.shows_log else "")
            return
        if isinstance(event, events.Loaded):
            self.loaded.add(who)
        elif isinstance(event, events.Formed):
            self.formed.add(who)
            if self.formed_at is None and self.formed.issuperset(self.workers()):
                self.formed_at = now
        elif isinstance(event, (events.Started, events.Beat, events.EpochEnd, events.Staged, events.Done)):
            self.progress_at = now
            self.steps[who] = event.step
        if isinstance(event, events.Started):
            self.started.add(who)
        elif isinstance(event, events.Ready):
            self.ready[who] = event.step
        elif isinstance(event, events.Done):
            self.digests[who[1]] = event.digest

    def _ended(self, event: events.RoleEnded) -> None:
        code, name, words = describe_exit(event.returncode)
        if code == 0:
            words += " before its work was done"
        who = (event.role, event.rank)
        self.pids[who] = event.pid
        kind, words = (event.lack, f"{words.split(' (')[0]}: {event.why}") if event.lack else ("role", words)
        self.fail(kind, who, words, exit_code=code, signal=name, log_tail=event.log)

    def _host(self, who: Who) -> str:
        slot = who[1] if who[0] == "agent" else self.slot_of.get(who)
        if slot is None:
            return self.host
        return self.joined[slot].host if slot in self.joined else "an unknown host"

    def _agent_pid(self, who: Who) -> int:
        return self.joined[who[1]].pid if who[0] == "agent" and who[1] in self.joined else 0
