"""What one process tells another to do: one frozen dataclass each, on the wire as ``{"do": name, …}``.

The driver commands its agent, that agent the agents of the slots, and each of these its worker; a command that is meant
for the workers goes down the whole way. Facts go the other way, see :mod:`mxspark.protocol.events`. A receiver holds
one table from command to method and hands it to :func:`carry_out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union, get_args

from mxspark.errors import InternalError
from mxspark.protocol import codec
from mxspark.protocol.specs import CPU, AgentSpec, Device, DriverAgentSpec, GroupSpec, RoleSpec


@dataclass(frozen=True)
class LeadGang:
    """Be the driver's agent."""

    spec: DriverAgentSpec


@dataclass(frozen=True)
class ServeSlot:
    """Be the agent of a slot. `scratch` is made when needed, for logs that go nowhere else, and removed at the end."""

    spec: AgentSpec
    scratch: str


@dataclass(frozen=True)
class Begin:
    """Make an attempt: place the roles of `group` once every agent is there, and hand `worker_spec` to the workers."""

    attempt: int
    group: GroupSpec
    worker_spec: dict[str, Any]


@dataclass(frozen=True)
class Start:
    """Start the roles of a slot, and hand its worker the spec."""

    attempt: int
    roles: tuple[RoleSpec, ...]
    worker_spec: dict[str, Any]


@dataclass(frozen=True)
class Train:
    """Be worker `rank` of the job that a `WorkerSpec` describes."""

    rank: int
    worker_spec: dict[str, Any]
    device: Device = CPU


@dataclass(frozen=True)
class Committed:
    """The checkpoint that was staged at `step` is published."""

    step: int


@dataclass(frozen=True)
class EndEarly:
    """End at a step that all workers agree on, with a last checkpoint; a worker answers that it is `Ready`."""

    why: str


@dataclass(frozen=True)
class LastStep:
    """All workers are `Ready`: the step to end early at, which none of them has passed."""

    step: int


@dataclass(frozen=True)
class Finish:
    """All is done: the roles may leave."""


@dataclass(frozen=True)
class DumpStacks:
    """Write the stacks of every role into its log, and say where each stands."""


@dataclass(frozen=True)
class Clear:
    """End every role of an attempt; the agents live on."""

    attempt: int
    why: str


@dataclass(frozen=True)
class Stop:
    """End every role, and yourself."""

    why: str


Command = Union[
    LeadGang, ServeSlot, Begin, Start, Train, Committed, EndEarly, LastStep, Finish, DumpStacks, Clear, Stop
]  # fmt: skip
KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Command)}
Table = Mapping[type[Any], Callable[[Any], None]]


class UnknownCommand(InternalError):
    """A process was told something that it does not know how to do."""


def to_wire(command: Command) -> dict[str, Any]:
    """Return the JSON object of a command."""
    return {"do": type(command).__name__, **codec.encode(command)}


def from_wire(message: dict[str, Any]) -> Command:
    """Build the command of a JSON object.

    Raises
    ------
    UnknownCommand
        If no command is called so.
    ValueError
        If its parts are not those of that command.
    """
    body = dict(message)
    kind = KINDS.get(str(body.pop("do", None)))
    if kind is None:
        raise _unknown("mxspark", message.get("do"))
    command: Command = codec.decode(kind, body)
    return command


def carry_out(message: dict[str, Any], receiver: str, table: Table) -> None:
    """Do what a frame says.

    Parameters
    ----------
    receiver : str
        How the error calls whoever does not know the command.
    table : mapping of type to callable
        What the receiver does for each command it takes.

    Raises
    ------
    UnknownCommand
        If it takes no such command.
    """
    command = from_wire(message)
    action: Optional[Callable[[Any], None]] = table.get(type(command))
    if action is None:
        raise _unknown(receiver, type(command).__name__)
    action(command)


def _unknown(receiver: str, name: object) -> UnknownCommand:
    return UnknownCommand(
        f"{receiver} knows no command {name!r:.100}; use one version of mxspark on driver and executors "
        "(mxspark check compares them)"
    )
