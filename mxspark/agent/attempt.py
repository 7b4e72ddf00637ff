"""One attempt as the driver's agent sees it: its phase, and the recorded facts. What follows from them: `decide`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Optional

from mxspark.agent.facts import AgentFacts, RoleFacts, Stage
from mxspark.errors.cause import Cause, describe_exit
from mxspark.errors.kinds import KINDS
from mxspark.errors.phase import advance
from mxspark.protocol import events
from mxspark.protocol.specs import DriverAgentSpec, Who
from mxspark.topology.identity import explain_difference


class Phase(Enum):
    """How far an attempt is."""

    IDLE = "the driver has not begun it"
    GATHERING = "agents are to come"
    RUNNING = "every role has its place"
    FAILING = "it failed, its roles are being ended"
    FINISHING = "all is done, roles and agents leave"
    OVER = "nothing of it is left running"


STEPS = {
    Phase.IDLE: (Phase.GATHERING, Phase.FAILING),
    Phase.GATHERING: (Phase.RUNNING, Phase.FAILING),
    Phase.RUNNING: (Phase.FAILING, Phase.FINISHING),
    Phase.FAILING: (Phase.OVER,),
    Phase.FINISHING: (Phase.OVER,),  # what fails from here on is left behind, and named, but changes nothing
    Phase.OVER: (),
}
OPEN = (Phase.IDLE, Phase.GATHERING, Phase.RUNNING)


@dataclass
class Attempt:
    """The recorded facts of one attempt. Times are seconds on one monotonic clock.

    Attributes
    ----------
    host : str
        Where the driver is.
    number : int
        Counts the attempts of a run from 1.
    roles : dict
        What is known of each role, once every role has its place.
    begun_at, formed_at, progress_at : float or None
        When the driver wanted it, when the last worker had met the others, when any worker last got on.
    failures : list of Cause
        In order of arrival: the first is the cause, the others are its company.
    """

    spec: DriverAgentSpec
    host: str
    number: int
    phase: Phase = Phase.IDLE
    agents: AgentFacts = field(default_factory=AgentFacts)
    roles: dict[Who, RoleFacts] = field(default_factory=dict)
    begun_at: Optional[float] = None
    formed_at: Optional[float] = None
    progress_at: Optional[float] = None
    failures: list[Cause] = field(default_factory=list)

    def step_to(self, phase: Phase) -> None:
        """Go on to another phase."""
        self.phase = advance(f"attempt {self.number}", self.phase, phase, STEPS)

    @property
    def is_open(self) -> bool:
        """Whether it can still fail."""
        return self.phase in OPEN

    def workers(self) -> list[Who]:
        """Return all workers of the attempt."""
        return [("worker", rank) for rank in range(self.spec.size)]

    def role(self, who: Who) -> RoleFacts:
        """Return what is known of a role: nothing before it has its place."""
        return self.roles.get(who, RoleFacts())

    def have_all(self, stage: Stage) -> bool:
        """Tell whether every worker has come so far."""
        return all(self.role(who).stage >= stage for who in self.workers())

    def is_training(self) -> bool:
        """Tell whether every worker trains, so that the attempt can be asked to end early."""
        return self.is_open and not self.failures and self.have_all(Stage.TRAINING)

    def last_step(self) -> Optional[int]:
        """Return the step to end early at, the first that no worker has passed; None until all have named theirs."""
        named = [facts.ready for facts in self.roles.values() if facts.ready is not None]
        return max(named) if len(named) == self.spec.size else None

    def next(self) -> Attempt:
        """Return the attempt that follows this one on the same agents."""
        return Attempt(self.spec, self.host, self.number + 1, agents=self.agents.for_next_attempt())

    def lost(self, cause: Optional[Cause]) -> tuple[int, ...]:
        """Return the slots that cannot take part in a next attempt: their agent is gone, or never came in time."""
        if self.phase is Phase.FINISHING:
            return ()
        absent = set(range(self.spec.size)) - set(self.agents.joined)
        late = absent if cause is not None and cause.traits.gives_up_absent else set()
        return tuple(sorted(set(self.agents.gone) | late))

    def begin(self, now: float) -> None:
        """The driver wants it: the clock of the start runs."""
        self.step_to(Phase.GATHERING)
        self.begun_at = now
        for rank, reason in self.agents.gone.items():  # between the attempts
            self.fail("agent", ("agent", rank), reason)

    def place(self, slot_of: dict[Who, Optional[int]]) -> None:
        """Every role has its slot."""
        self.step_to(Phase.RUNNING)
        self.roles = {who: RoleFacts(slot) for who, slot in slot_of.items()}

    def join(self, event: events.Joined) -> None:
        """An agent is there; on another host that may be an error."""
        self.agents.joined[event.rank] = event
        if not self.is_open:
            self.agents.cleared.add(event.rank)  # it has nothing to clear
        if self.spec.same_host and event.identity != self.spec.identity:
            self.fail(
                "host",
                ("agent", event.rank),
                f"it runs on {event.host}, the driver on {self.host}, and "
                f"{explain_difference(self.spec.identity, event.identity)}. "
                "The roles of a job meet on one host, as one user; run all tasks on the driver's host, and as its user "
                "(several hosts are not supported yet)",
            )

    def identities(self) -> list[str]:
        """Return on which host each agent is, once all have joined."""
        return [self.agents.joined[rank].identity for rank in range(self.spec.size)]

    def get_on(self, now: float) -> None:
        """What workers waited for has happened: the time in which they must move begins anew."""
        if self.progress_at is not None:
            self.progress_at = now

    def lose(self, rank: int, reason: str) -> None:
        """The agent of a slot is gone."""
        if rank not in self.agents.gone:
            self.agents.gone[rank] = reason
            if self.is_open:  # after that agents are expected to go, or were given up for what is known already
                self.fail("agent", ("agent", rank), reason)

    def look_at_driver(self, pid: int, still_s: float) -> None:
        """End the attempt of a driver that is stopped by a signal; once it goes on it may begin another."""
        lease_s = self.spec.limits.lease_s
        if still_s > lease_s and self.is_open and self.begun_at is not None:
            words = f"it was stopped by a signal for {still_s:.0f} s (failure.lease_s = {lease_s:g} s)"
            self.fail("stopped", ("driver", 0), words, pid=pid, signal="SIGSTOP")

    def record(self, who: Optional[Who], event: events.Event, now: float) -> None:
        """Note what a role said (`who`), or an agent said of a role (None)."""
        if isinstance(event, events.RoleStarted):
            role = self.role((event.role, event.rank))
            role.pid = event.pid
            role.stage = max(role.stage, Stage.STARTED)
        elif isinstance(event, events.RoleEnded):
            if not event.expected:
                self._note_end(event)
        elif isinstance(event, events.Examined):
            self.role((event.role, event.rank)).examined = event
        elif isinstance(event, events.Stopped):
            self.agents.stopped.add(event.rank)
            self.lose(event.rank, "its agent has ended, without being asked")
        elif isinstance(event, events.Cleared):
            if event.attempt == self.number:
                self.agents.cleared.add(event.rank)
        elif who is not None:
            self._note(who, event, now)

    def fail(self, kind: str, who: Who, message: str, **details: object) -> None:
        """Add a failure of a role or agent."""
        self.failures.append(self.cause(kind, who, message, **details))

    def cause(self, kind: str, who: Who, message: str, **details: object) -> Cause:
        """Return a failure of a role or agent with what is known of it: host, process, the steps done."""
        step = max((facts.step for facts in self.roles.values() if facts.step is not None), default=None)
        made = Cause(kind, *who, self._host(who), pid=self._pid(who), message=message, step=step)
        return replace(made, **details)  # type: ignore[arg-type]

    def _note(self, who: Who, event: events.Event, now: float) -> None:
        role = self.role(who)
        if isinstance(event, events.Raised):
            if event.step is not None:
                role.step = event.step  # newer than its last beat
            kind = KINDS[event.who]
            text = f"{event.type}: {event.message}" if kind.names_exception and event.type else event.message
            self.fail(kind.name, who, text, traceback=event.traceback if kind.shows_traceback else "")
        elif isinstance(event, events.Loaded):
            role.stage = max(role.stage, Stage.LOADED)
        elif isinstance(event, events.Formed):
            role.stage = max(role.stage, Stage.FORMED)
            if self.formed_at is None and self.have_all(Stage.FORMED):
                self.formed_at = now
        elif isinstance(event, events.Preparing):
            self.progress_at = now
        elif isinstance(event, events.Ready):
            role.ready = event.step
        elif isinstance(event, (events.Started, events.Beat, events.EpochEnd, events.Staged, events.Done)):
            self.progress_at = now
            role.step = event.step
            if isinstance(event, events.Started):
                role.stage = Stage.TRAINING
            elif isinstance(event, events.Done):
                role.digest = event.digest

    def _note_end(self, event: events.RoleEnded) -> None:
        code, name, words = describe_exit(event.returncode)
        if code == 0:
            words += " before its work was done"
        who = (event.role, event.rank)
        self.role(who).pid = event.pid
        kind, words = (event.lack, f"{words.split(' (')[0]}: {event.why}") if event.lack else ("role", words)
        self.fail(kind, who, words, exit_code=code, signal=name, log_tail=event.log)

    def _host(self, who: Who) -> str:
        slot = who[1] if who[0] == "agent" else self.role(who).slot
        if slot is None:
            return self.host
        return self.agents.joined[slot].host if slot in self.agents.joined else "an unknown host"

    def _pid(self, who: Who) -> int:
        if who[0] == "agent":
            return self.agents.joined[who[1]].pid if who[1] in self.agents.joined else 0
        return self.role(who).pid
