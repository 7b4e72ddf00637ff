"""What agents are told: the standard library alone, so that an agent starts in a few hundredths of a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

# The entry point of each role, ``module:function``.
ENTRIES = {
    "scheduler": "mxspark.mx.ps_role:main",
    "server": "mxspark.mx.ps_role:main",
    "worker": "mxspark.mx.worker:main",
}

#: A process of a run: its role, and the rank within it.
Who = tuple[str, int]
#: Rank of the driver's agent among agents.
DRIVER = -1


@dataclass(frozen=True)
class Meeting:
    """Where the workers of one host find each other, with ``training.exchange: hierarchical``.

    Attributes
    ----------
    hosts : tuple of tuple of int
        The ranks of every host; the first of each leads it.
    members : tuple of int
        The ranks of this one.
    socket : str
        Path at which the leader's agent hands descriptors to the other agents.
    """

    hosts: tuple[tuple[int, ...], ...]
    members: tuple[int, ...]
    socket: str


@dataclass(frozen=True)
class Inherited:
    """Descriptors a worker gets from its agent: memory it shares with the workers of its host, and sockets to them.

    Attributes
    ----------
    hosts : tuple of tuple of int
        As in `Meeting`.
    segments : tuple of int
        One for each worker of this host, in order of rank; empty where a worker is alone.
    totals : int
        The segment the sums go to.
    peers : tuple of (int, int)
        Rank of each other worker of this host, and the socket to it.
    """

    hosts: tuple[tuple[int, ...], ...]
    segments: tuple[int, ...] = ()
    totals: int = -1
    peers: tuple[tuple[int, int], ...] = ()

    def descriptors(self) -> tuple[int, ...]:
        """Return all of them."""
        return (*self.segments, *(fd for _, fd in self.peers), *([self.totals] if self.totals >= 0 else []))


#: Environment of a role: the descriptor of its channel to its agent, and of a worker its `Inherited` as JSON.
CHANNEL = "MXSPARK_CHANNEL"
INHERITED = "MXSPARK_INHERITED"


@dataclass(frozen=True)
class Device:
    """What a role computes on: ``cpu``, or one of several of a kind."""

    kind: str
    index: int = 0


CPU = Device("cpu")


@dataclass(frozen=True)
class RoleSpec:
    """One role process of an attempt.

    Attributes
    ----------
    role : str
        ``scheduler``, ``server`` or ``worker``.
    rank : int
        Rank within the role.
    environment : dict
        The role's own variables: transport, threads, malloc, and what the job names. The agent adds the few a process
        needs to live (PATH, HOME, locale) and nothing else of its own environment.
    socket : str or None
        Path of the unix socket it must bind, with ``transport.mode: local``.
    meeting : Meeting or None
        Of a worker that sums inside its host.
    device : Device
        What it computes on.
    """

    role: str
    rank: int
    environment: dict[str, str]
    socket: Optional[str]
    meeting: Optional[Meeting] = None
    device: Device = CPU


@dataclass(frozen=True)
class GroupSpec:
    """The roles an attempt needs; where each runs is planned once every agent has said on which host it is.

    Attributes
    ----------
    servers : int or None
        Servers in all. None: one a host, and no fewer than `servers_on_driver`.
    servers_on_driver : int
        How many of them run beside the scheduler; the rest go round the slots.
    sums_in_host : bool
        Whether the workers of a host sum among themselves (``training.exchange: hierarchical``).
    mode : str
        ``local`` (unix sockets) or ``tcp``.
    threads, server_threads : int
        OpenMP threads of a worker and of a server.
    environment : dict
        Variables the job names, for every role.
    """

    servers: Optional[int]
    servers_on_driver: int
    sums_in_host: bool
    mode: str
    threads: int
    server_threads: int
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """Deadlines in seconds; see ``failure`` in ``config/job.yaml``."""

    start_s: float
    hang_s: float
    lease_s: float
    shutdown_s: float


@dataclass(frozen=True)
class AgentSpec:
    """What a task hands to the agent it starts, on the agent's standard input.

    `secret` is the job's, in hexadecimal. `log_dir` None means the container's log folder or a temporary one. `entries`
    names the program of each role. `identity` is the host it says it is on; None, as everywhere but in tests, asks the
    kernel.
    """

    rank: int
    size: int
    run_id: str
    address: tuple[str, int]
    secret: str = field(repr=False)
    limits: Limits
    sys_path: tuple[str, ...]
    log_dir: Optional[str] = None
    entries: dict[str, str] = field(default_factory=lambda: dict(ENTRIES))
    identity: Optional[str] = None


@dataclass(frozen=True)
class DriverAgentSpec:
    """What the driver hands to its own agent, on the socket that is the agent's standard input.

    `bind` is the address of its port, and of roles that meet over TCP. `same_host` demands that every agent has
    `identity`. `scratch` is the driver's temporary folder, which the agent removes if the driver cannot. `first` is the
    number of the first attempt of this gang.
    """

    run_id: str
    size: int
    bind: str
    secret: str = field(repr=False)
    limits: Limits
    sys_path: tuple[str, ...]
    log_dir: str
    identity: str
    same_host: bool
    scratch: Optional[str] = None
    first: int = 1
    entries: dict[str, str] = field(default_factory=lambda: dict(ENTRIES))


AGENT_TAG = "MXSPARK_AGENT_OF"  # in the environment of every agent; roles have `RUN_TAG`


RUN_TAG = "MXSPARK_RUN"
