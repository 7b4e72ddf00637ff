"""Leading one attempt: note what is reported, and carry out what follows from it, step by step."""

from __future__ import annotations

import logging
from typing import Callable, Optional

from mxspark.agent.attempt import Attempt, Phase
from mxspark.agent.connections import Connections
from mxspark.agent.decide import Decision, decide
from mxspark.agent.diagnosis import blame
from mxspark.agent.driver_line import DriverLine
from mxspark.agent.ending import Remains
from mxspark.agent.role_process import Settings
from mxspark.agent.roles import Roles
from mxspark.errors.cause import Cause
from mxspark.protocol import commands, events
from mxspark.protocol.specs import DRIVER, Who
from mxspark.system import ports
from mxspark.system.loop import Loop
from mxspark.topology.placement import plan_roles

log = logging.getLogger(__name__)

STACKS_S = 1.0  # for agents to report what they found of their roles
CLEAR_S = 5.0  # for agents to end the roles of an attempt
STOP_S = 5.0  # for agents to end


class Conductor:
    """Leads one attempt, from the moment it can be begun until nothing of it is left running.

    Parameters
    ----------
    on_over : callable
        ``on_over(last word)`` once it is over.
    on_stuck : callable
        Called with words if agents do not end, though all is done.
    """

    def __init__(
        self,
        loop: Loop,
        attempt: Attempt,
        settings: Settings,
        agents: Connections,
        driver: DriverLine,
        *,
        on_over: Callable[[events.Ended], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        self.attempt = attempt
        self.remains = Remains(attempt, settings.log_suffix)
        self._loop = loop
        self._agents = agents
        self._driver = driver
        self._on_over = on_over
        self._on_stuck = on_stuck
        self._begun: Optional[commands.Begin] = None
        self._is_stopping = False
        self._roles = Roles(loop, settings, attempt.spec.limits.hang_s, self._note_own, self._own_ended)

    def begin(self, begin: commands.Begin) -> None:
        """Make the attempt that the driver wants."""
        self._begun = begin
        self.attempt.begin(self._loop.now())
        self.act()

    def note(self, source: Who, who: Optional[Who], event: events.Event) -> None:
        """Take note of what `source` says: a role (`who`), or an agent of one of its roles (None)."""
        attempt = self.attempt
        had_formed = attempt.formed_at is not None
        agreed = attempt.last_step()
        attempt.record(who, event, self._loop.now())
        self._driver.report(*source, event)
        # Only once the group has formed must every role have bound its socket; those of the slots see to it themselves.
        if attempt.formed_at is not None and not had_formed:
            self._roles.verify_sockets()
        last = attempt.last_step()
        # Not once all is done: workers that have leave to go begin no other step anyway.
        if last is not None and last != agreed and attempt.is_open:
            self._agents.tell(commands.LastStep(last))
        self.act()

    def act(self) -> None:
        """Do what is to be done now; called after whatever may have changed it, and again and again."""
        if self.attempt.phase is not Phase.OVER:
            decision = decide(self.attempt, self._loop.now())
            if decision.phase is not self.attempt.phase:
                self._step_to(decision)

    def break_off(self, cause: Cause) -> None:
        """Let it fail of something that is no failure of a role or an agent; who calls this ends the roles."""
        self.attempt.step_to(Phase.FAILING)
        self.remains.cause = cause

    def kill_roles(self) -> None:
        """End the roles of this host, because the agents were told to end."""
        self._is_stopping = True
        self._roles.kill()

    def end(self) -> None:
        """Call it over, whatever is left."""
        attempt, word = self.attempt, self.remains.last_word()
        attempt.step_to(Phase.OVER)
        # Before the driver hears of it: it may begin the next attempt at once, or remove the folder of the run.
        self.remains.clean_up()
        self._driver.report("agent", DRIVER, word)
        self._on_over(word)

    def _step_to(self, decision: Decision) -> None:
        if decision.phase is Phase.RUNNING and self._begun is not None:
            self._place_roles(self._begun)
        elif decision.phase is Phase.FAILING and decision.cause is not None:
            self._fail(decision.cause)
        elif decision.phase is Phase.FINISHING:
            self._finish()
        elif decision.phase is Phase.OVER:
            self.end()

    def _place_roles(self, begin: commands.Begin) -> None:
        """Give each role its place and have all of them started.

        The driver is told first: if this process is killed, nobody else knows which sockets to remove.
        """
        attempt, spec = self.attempt, self.attempt.spec
        try:
            group = plan_roles(begin.group, attempt.identities(), spec.run_id, spec.bind, free_ports=ports.free_ports)
        except ValueError as error:
            attempt.fail("host", ("driver", 0), f"the roles cannot be placed: {error}")
            self.act()
            return
        attempt.place(group.slot_of())
        self.remains.sockets = group.sockets()
        self._driver.tell(events.Placed(group.hosts, self.remains.sockets))
        for rank, roles in enumerate(group.slots):
            self._agents.tell_one(rank, commands.Start(begin.attempt, roles, begin.worker_spec))
        # Last, for the others have longer ways: a worker needs a second to load MXNet, the scheduler a fraction of it.
        self._roles.start(group.driver)

    def _fail(self, cause: Cause) -> None:
        self.attempt.step_to(Phase.FAILING)
        self.remains.cause = cause
        log.error("attempt %d failed: %s", self.attempt.number, cause.describe())
        if not cause.traits.is_examined:
            self._clear(cause.message)
            return
        # Before anything is killed: who stands still can only be told while all of them still stand.
        self._roles.dump_stacks()
        self._agents.tell(commands.DumpStacks())
        self._loop.after(STACKS_S, lambda: self._blame(cause))

    def _blame(self, cause: Cause) -> None:
        blamed = blame(self.attempt, cause)
        self.remains.cause = blamed
        self._clear(blamed.message)

    def _clear(self, why: str) -> None:
        """End the roles of the attempt; the agents live on."""
        self._agents.tell(commands.Clear(self.attempt.number, why))
        self._roles.kill()
        self._loop.after(CLEAR_S, self._give_up)
        self.act()

    def _give_up(self) -> None:
        """Let go of agents that have not ended their roles: they are stopped, or the machine is."""
        if self.attempt.phase is Phase.OVER or self._is_stopping:  # who was told to end has STOP_S from then on
            return
        for rank in self.attempt.agents.with_roles() - {DRIVER}:
            reason = f"its agent did not end its roles within {CLEAR_S:g} s"
            self._agents.drop(rank, reason)
            self.attempt.lose(rank, reason)
        self.attempt.agents.cleared.add(DRIVER)  # roles of this host too had their time: KILL_S is less
        self.act()

    def _finish(self) -> None:
        self.attempt.step_to(Phase.FINISHING)
        shutdown_s = self.attempt.spec.limits.shutdown_s
        self._roles.leave(shutdown_s)
        self._agents.tell(commands.Finish())
        self._loop.after(shutdown_s + STOP_S, lambda: self._on_stuck("the others have ended"))

    def _note_own(self, who: Optional[Who], event: events.Event) -> None:
        """Take note of what is said by a role of this host (`who`), or of one (None)."""
        self.note(who or ("agent", DRIVER), who, event)

    def _own_ended(self) -> None:
        self.attempt.agents.cleared.add(DRIVER)
        self.remains.logs.update(self._roles.logs())
        self._loop.after(0, self.act)  # not from inside the report of a role's end
