"""What the driver's agent knows of the agents and of the roles of an attempt, each fact as it was reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Optional

from mxspark.protocol import events
from mxspark.protocol.specs import DRIVER


class Stage(IntEnum):
    """How far a role has come; each stage is reported once the one before it is passed."""

    PLACED = 0
    STARTED = 1
    LOADED = 2
    FORMED = 3
    TRAINING = 4


@dataclass
class RoleFacts:
    """One role: the slot it runs in (None: beside the driver), and what it and its agent have said of it.

    `step` is how many steps it has done. `ready` is the one it can end early at. `digest` is of its parameters when
    all is done.
    """

    slot: Optional[int] = None
    pid: int = 0
    stage: Stage = Stage.PLACED
    step: Optional[int] = None
    ready: Optional[int] = None
    digest: Optional[str] = None
    examined: Optional[events.Examined] = None


@dataclass
class AgentFacts:
    """The agents by slot: those that came, those that are gone and why, those that said that they end.

    All of that outlives an attempt. `cleared` does not: whose roles of this attempt have all ended; the driver's agent
    is among them as `DRIVER`.
    """

    joined: dict[int, events.Joined] = field(default_factory=dict)
    gone: dict[int, str] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)
    cleared: set[int] = field(default_factory=set)

    def for_next_attempt(self) -> AgentFacts:
        """Return the same agents, none of which has cleared anything."""
        return AgentFacts(self.joined, self.gone, self.stopped)

    def with_roles(self) -> set[int]:
        """Return the agents that are there and have not said that every role of theirs has ended."""
        return {*self.joined, DRIVER} - set(self.gone) - self.cleared

    def alive(self) -> set[int]:
        """Return the slots whose agent is there."""
        return set(self.joined) - set(self.gone)
