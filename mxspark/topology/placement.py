"""Who runs where: roles, ranks, endpoints and the environment of each role. Pure but for the draw of free names.

ps-lite gives ranks by sorting its members by host string, descending, then by port, ascending. It does not look at who
came first. So the host string (a mere label with unix sockets) or the port decides, and the rank is known beforehand.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

from mxspark.protocol.specs import RUN_TAG, GroupSpec, Meeting, RoleSpec
from mxspark.topology.devices import device_of
from mxspark.topology.hosts import Groups, groups
from mxspark.topology.identity import SOCKET_FOLDER

FIRST_LABEL = 999_999
LOWEST_PORT, HIGHEST_PORT = 65_536, 2**31 - 2  # above every TCP port; 2**31 - 1 means "none" to ps-lite

# glibc otherwise hands the memory of every large message back to the kernel and faults it in again.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967295",
    "MALLOC_TRIM_THRESHOLD_": "4294967295",
    "MALLOC_TOP_PAD_": "67108864",
    "MALLOC_ARENA_MAX": "2",
}
RESERVED_PREFIXES = ("DMLC_", "MXSPARK_")
RESERVED_NAMES = {"PORT", "OMP_NUM_THREADS"}


@dataclass(frozen=True)
class Group:
    """The roles of one attempt.

    Attributes
    ----------
    hosts : tuple of tuple of int
        The ranks of each host.
    driver : tuple of RoleSpec
        The scheduler, and the servers that run beside it.
    slots : tuple of tuple of RoleSpec
        Roles of each slot, indexed by the partition id of the task: its worker first, then its servers.
    """

    hosts: Groups
    driver: tuple[RoleSpec, ...]
    slots: tuple[tuple[RoleSpec, ...], ...]

    def slot_of(self) -> dict[tuple[str, int], Optional[int]]:
        """Return the slot of each role; of those beside the driver it is None."""
        here: dict[tuple[str, int], Optional[int]] = {(role.role, role.rank): None for role in self.driver}
        return {**here, **{(role.role, role.rank): slot for slot, roles in enumerate(self.slots) for role in roles}}

    def sockets(self) -> tuple[str, ...]:
        """Return the paths of the sockets that roles bind, and of those at which their agents meet."""
        roles = [*self.driver, *(role for slot in self.slots for role in slot)]
        meetings = {role.meeting.socket for role in roles if role.meeting}
        return (*(role.socket for role in roles if role.socket), *sorted(meetings))


@dataclass(frozen=True)
class Endpoints:
    """Where the roles of one attempt listen: ports (or names of sockets) in order of ps-lite's rank.

    `meetings` are the names at which the agents of each host meet.
    """

    scheduler: int
    servers: tuple[int, ...]
    workers: tuple[int, ...]
    meetings: tuple[int, ...] = ()

    @classmethod
    def of(cls, numbers: Sequence[int], counts: Sequence[int]) -> Endpoints:
        """Deal out numbers: one to the scheduler, then to so many servers, workers and meetings."""
        ends = [sum(counts[:place]) for place in range(len(counts) + 1)]
        _, servers, workers, meetings = (tuple(numbers[a:b]) for a, b in zip(ends, ends[1:]))
        return cls(numbers[0], servers, workers, meetings)


def draw_sockets(count: int, draw: Callable[[int, int], int], folder: Path = SOCKET_FOLDER) -> list[int]:
    """Return `count` different numbers that name no file in `folder`.

    Parameters
    ----------
    draw : callable
        ``draw(lowest, highest)`` returns a random integer, both ends included.
    """
    drawn: list[int] = []
    for _ in range(100 * count):
        number = draw(LOWEST_PORT, HIGHEST_PORT)
        if number not in drawn and not os.path.lexists(folder / str(number)):
            drawn.append(number)
        if len(drawn) == count:
            return drawn
    raise ValueError(f"no {count} free names for sockets were found in {folder}")


def plan_roles(
    wanted: GroupSpec,
    identities: Sequence[str],
    run_tag: str,
    host_address: str,
    *,
    draw: Optional[Callable[[int, int], int]] = None,
    free_ports: Optional[Callable[[str, int], Sequence[int]]] = None,
) -> Group:
    """Place the roles of one attempt and give each its endpoint and its environment.

    Parameters
    ----------
    wanted : GroupSpec
        What roles there are to be.
    identities : sequence of str
        What the agent of each slot says of its host; there is one worker a slot. Where the workers of a host sum among
        themselves, the first of them is the one worker ps-lite knows of it; else every worker is one of ps-lite's.
        Without servers (one host only) there is no ps-lite at all.
    run_tag : str
        Marks every process of the run.
    host_address : str
        Numeric IPv4 address the roles bind with ``tcp``.
    draw, free_ports : callable
        Source of socket names (default: the system's random source), and of free ports with ``tcp``.

    Raises
    ------
    ValueError
        If the counts cannot be, or the job names a variable that belongs to mxspark.
    """
    hosts = groups(identities)
    num_servers = max(len(hosts), wanted.servers_on_driver) if wanted.servers is None else wanted.servers
    _check(wanted, len(identities), num_servers, len(hosts))
    summing = hosts if wanted.sums_in_host else None
    leaders = [members[0] for members in hosts] if summing else list(range(len(identities)))
    counts = (1, num_servers, len(leaders) if num_servers else 0, len(summing or ()))
    ends = Endpoints.of(_numbers(sum(counts), wanted.mode, host_address, draw, free_ports), counts)
    common = {**MALLOC, **wanted.environment, RUN_TAG: run_tag}
    make = _Maker(ends, None if wanted.mode == "local" else host_address, common)
    workers = [make.worker(rank, summing, leaders, wanted.threads) for rank in range(len(identities))]
    return _group(hosts, workers, make.servers(wanted.server_threads), wanted.servers_on_driver)


def _group(
    hosts: Groups, workers: Sequence[RoleSpec], scheduler_and_servers: Sequence[RoleSpec], on_driver: int
) -> Group:
    """Put the scheduler and the first servers beside the driver, and let the other servers go round the slots."""
    first, servers = scheduler_and_servers[: on_driver + 1], scheduler_and_servers[on_driver + 1 :]
    slots = tuple((worker, *servers[worker.rank :: len(workers)]) for worker in workers)
    return Group(hosts, tuple(first), slots)


def _numbers(
    count: int,
    mode: str,
    host_address: str,
    draw: Optional[Callable[[int, int], int]],
    free_ports: Optional[Callable[[str, int], Sequence[int]]],
) -> list[int]:
    """Return names of sockets, or ports in ascending order."""
    if mode == "local":
        return draw_sockets(count, draw or random.SystemRandom().randint)
    if mode == "tcp" and free_ports is not None:
        return sorted(free_ports(host_address, count))
    raise ValueError(f"transport.mode is 'local' or 'tcp' (which needs a source of free ports), not {mode!r}")


@dataclass(frozen=True)
class _Maker:
    """Makes the specs of one group; `address` None means unix sockets."""

    ends: Endpoints
    address: Optional[str]
    common: Mapping[str, str]

    def servers(self, omp_threads: int) -> list[RoleSpec]:
        """Return the scheduler and all servers, nothing without servers."""
        made = [self.role("server", rank, port, omp_threads) for rank, port in enumerate(self.ends.servers)]
        return [self.role("scheduler", 0, self.ends.scheduler, 1), *made] if made else []

    def worker(self, rank: int, hosts: Optional[Groups], leaders: Sequence[int], omp_threads: int) -> RoleSpec:
        if rank in leaders and self.ends.workers:
            place = leaders.index(rank)
            made = self.role("worker", place, self.ends.workers[place], omp_threads)
        else:
            environment = {**self.common, "OMP_NUM_THREADS": str(omp_threads)}
            made = RoleSpec("worker", rank, environment, None, device=device_of("worker"))
        if hosts is None:
            return made
        place = next(place for place, members in enumerate(hosts) if rank in members)
        path = str(SOCKET_FOLDER / str(self.ends.meetings[place]))
        return replace(made, rank=rank, meeting=Meeting(hosts, hosts[place], path))

    def role(self, kind: str, rank: int, port: int, omp_threads: int) -> RoleSpec:
        environment = {
            **self.common,
            "OMP_NUM_THREADS": str(omp_threads),
            "DMLC_ROLE": kind,
            "DMLC_PS_ROOT_URI": self.address or "scheduler",
            "DMLC_PS_ROOT_PORT": str(self.ends.scheduler),
            "DMLC_NUM_WORKER": str(len(self.ends.workers)),
            "DMLC_NUM_SERVER": str(len(self.ends.servers)),
            "DMLC_NODE_HOST": self.address or _label(kind, rank),
            "PORT": str(port),
        }
        if self.address is not None:
            return RoleSpec(kind, rank, environment, None, device=device_of(kind))
        socket = str(SOCKET_FOLDER / str(port))
        return RoleSpec(kind, rank, {**environment, "DMLC_LOCAL": "1"}, socket, device=device_of(kind))


def _label(kind: str, rank: int) -> str:
    """Return a host string that sorts, descending, in order of rank."""
    return f"{kind}{FIRST_LABEL - rank:06d}"


def _check(wanted: GroupSpec, workers: int, servers: int, hosts: int) -> None:
    fewest = 0 if wanted.sums_in_host and hosts == 1 else 1
    if workers < 1 or servers < fewest or not 0 <= wanted.servers_on_driver <= servers:
        raise ValueError(
            f"{workers} workers on {hosts} hosts need one server at least, and no more of them on the driver than "
            f"there are: num_servers={servers}, servers_on_driver={wanted.servers_on_driver}"
        )
    if ours := reserved(wanted.environment):  # the configuration refuses them before anything is started
        raise ValueError(f"these variables are set by mxspark and cannot be named by a job: {', '.join(ours)}")


def reserved(names: Iterable[str]) -> list[str]:
    """Return which variables a job cannot set for its roles, because each role has its own."""
    return sorted(name for name in names if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES))
