"""Reported facts: one frozen dataclass each, on the wire and in ``events.jsonl`` as ``{"event": name, …}``.

A worker says the first group, an agent the second, the driver itself the last; :class:`Reported` adds who said it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Union, get_args

from mxspark.errors import kinds
from mxspark.errors.cause import Cause
from mxspark.protocol import codec
from mxspark.protocol.staged import StagedFile


@dataclass(frozen=True)
class Loaded:
    """The worker has imported MXNet and waits for its work."""

    seconds: float


@dataclass(frozen=True)
class Formed:
    """The exchange is up; every role of the attempt has met every other."""

    rank: int
    seconds: float


@dataclass(frozen=True)
class Preparing:
    """The worker gets on before its first step: it has held the ids of `done` of `total` rows against their tables."""

    done: int
    total: int


@dataclass(frozen=True)
class Started:
    """Parameters agree on all ranks; the first step is next. `graph` and `factors` are as in `findings.Built`."""

    step: int
    epoch: int
    parameters: int
    seconds: dict[str, float]
    graph: tuple[str, ...] = ()
    factors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Beat:
    """Any progress: steps done, rows of this rank, seconds since the start of training.

    Of these, `waiting_s` went by waiting for rows, `meeting_s` for other workers (None: unknown)."""

    step: int
    epoch: int
    rows: int
    seconds: float
    waiting_s: float
    doing: str = "training"
    meeting_s: Optional[float] = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochEnd:
    """One pass over the data: global metrics, the same on all ranks."""

    epoch: int
    step: int
    rows: int
    seconds: float
    training: dict[str, float]
    validation: dict[str, float]


@dataclass(frozen=True)
class Noted:
    """Something that is no error and should be known: a warning of the run's result."""

    text: str


@dataclass(frozen=True)
class Staged:
    """A folder that rank 0 wants published; it is removed by whoever publishes it.

    `kind` is ``checkpoint``, ``model`` (at the end) or ``best`` (best epoch by validation).
    """

    kind: str
    path: str
    step: int
    epoch: int
    files: tuple[StagedFile, ...]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Raised:
    """The worker stops because of an exception. `who` is the kind of failure: ``training``, ``input`` or another.

    Its agent makes ``memory`` or ``disk`` of that where one ran out. An agent says it too: of a role that broke its
    part (``role``), and of itself when it has to give up (``agent``).
    """

    who: str
    type: str
    message: str
    traceback: str
    step: Optional[int] = None

    def __post_init__(self) -> None:
        kinds.check(self.who)


@dataclass(frozen=True)
class Ready:
    """The worker was asked to end early and has begun `step` steps; it begins no other before it is told the last."""

    step: int


@dataclass(frozen=True)
class Done:
    """All steps are done and all ranks hold the same parameters; the worker waits for leave to finish."""

    step: int
    digest: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class Joined:
    """An agent is there. `identity` is `topology.identity.host_identity`."""

    rank: int
    host: str
    identity: str
    pid: int


@dataclass(frozen=True)
class RoleStarted:
    """An agent started a role process; `log` is the path of its log."""

    role: str
    rank: int
    pid: int
    log: str


@dataclass(frozen=True)
class RoleEnded:
    """A role process ended; `expected` if it had leave to. `log` holds the last lines of its log.

    `why` is what its agent knows of the reason, and `lack` the kind of cause that makes it: memory, a disk or a limit.
    """

    role: str
    rank: int
    pid: int
    returncode: int
    expected: bool
    log: str
    why: str = ""
    lack: str = ""


@dataclass(frozen=True)
class Examined:
    """What an agent found of a role when there was no progress, or that it was stopped for ``failure.hang_s``.

    `state` is the letter the kernel has for it (T: stopped by a signal), `inside` where its main thread stands in code
    of the user, "" where it waits for others or that is not known.
    """

    role: str
    rank: int
    state: str
    inside: str = ""


@dataclass(frozen=True)
class Stopped:
    """An agent has no role process left. `left` names what could not be ended or removed.

    `ended` names processes that the training code had started and left running, and that are ended now.
    """

    rank: int
    left: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@dataclass(frozen=True)
class Logs:
    """The end of the log of each role of an agent, by name; the driver gets all of them with `Ended`."""

    logs: dict[str, str]


@dataclass(frozen=True)
class Cleared:
    """An agent has ended every role of an attempt and waits for the next. `left` and `ended` as with `Stopped`."""

    rank: int
    attempt: int
    left: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listening:
    """The driver's agent takes connections at this address. For the driver alone."""

    address: tuple[str, int]


@dataclass(frozen=True)
class Placed:
    """Roles are about to start on `hosts` (ranks of each). The driver removes `sockets` should its agent be killed."""

    hosts: tuple[tuple[int, ...], ...]
    sockets: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """An attempt is over, on every agent. `cause` is None after success; `lost` are the slots without an agent."""

    cause: Optional[Cause]
    others: tuple[Cause, ...] = ()
    logs: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class Restarting:
    """The driver starts attempt `attempt` of the run because the one before failed.

    `how` is ``in place`` (the agents live on) or ``stage``; it goes on at `step`, and had come to `reached`.
    """

    attempt: int
    how: str
    workers: int
    step: int
    reached: int
    wait_s: float
    cause: Cause


@dataclass(frozen=True)
class Straggler:
    """Worker `rank` is slow: every other one waited for it for a share `waited` of the last `window_s` seconds.

    `reading` is the share that it spent waiting for rows itself.
    """

    rank: int
    waited: float
    reading: float
    window_s: float


Event = Union[
    Loaded, Formed, Preparing, Started, Beat, EpochEnd, Noted, Staged, Raised, Ready, Done,
    Joined, RoleStarted, RoleEnded, Examined, Stopped, Logs, Cleared,
    Listening, Placed, Ended, Restarting, Straggler,
]  # fmt: skip
KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True)
class Reported:
    """An event and who said it: the role and the rank of the agent or worker."""

    role: str
    rank: int
    event: Event


def to_wire(event: Event) -> dict[str, Any]:
    """Return the JSON object of an event."""
    return {"event": type(event).__name__, **codec.encode(event)}


def from_wire(message: dict[str, Any]) -> Event:
    """Build the event of a JSON object; ValueError if it is none."""
    body = dict(message)
    kind = KINDS.get(str(body.pop("event", None)))
    if kind is None:
        raise ValueError(f"no event is called {message.get('event')!r}")
    event: Event = codec.decode(kind, body)
    return event
