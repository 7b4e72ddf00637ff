"""Who runs where: roles, ranks, endpoints and the environment of each role. Pure but for :func:`host_identity`.

ps-lite gives ranks by sorting its members by host string, descending, then by port, ascending. It does not look at who
came first. So the host string (a mere label with unix sockets) or the port decides, and the rank is known beforehand.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

from mxspark.protocol.specs import RUN_TAG, Meeting, RoleSpec
from mxspark.topology.hosts import Groups
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
    driver : tuple of RoleSpec
        The scheduler, and the servers that run beside it.
    slots : tuple of tuple of RoleSpec
        Roles of each slot, indexed by the partition id of the task: its worker first, then its servers.
    """

    driver: tuple[RoleSpec, ...]
    slots: tuple[tuple[RoleSpec, ...], ...]


def sockets(roles: Sequence[RoleSpec]) -> list[str]:
    """Return the paths of the sockets that roles bind, and of those at which their agents meet."""
    meetings = {role.meeting.socket for role in roles if role.meeting}
    return [*(role.socket for role in roles if role.socket), *sorted(meetings)]


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
    *,
    num_workers: int,
    num_servers: int,
    servers_on_driver: int,
    mode: str,
    threads: int,
    server_threads: int,
    host_address: str,
    run_tag: str,
    hosts: Optional[Groups] = None,
    extra_environment: Optional[Mapping[str, str]] = None,
    draw: Optional[Callable[[int, int], int]] = None,
    free_ports: Optional[Callable[[str, int], Sequence[int]]] = None,
) -> Group:
    """Place the roles of one attempt and give each its endpoint and its environment.

    Parameters
    ----------
    num_servers, servers_on_driver : int
        Servers in all, and how many of them run beside the scheduler; the rest go round the slots.
    mode : str
        ``local`` (unix sockets) or ``tcp``.
    threads, server_threads : int
        OpenMP threads of a worker and of a server.
    host_address : str
        Numeric IPv4 address the roles bind with ``tcp``.
    run_tag : str
        Marks every process of the run.
    hosts : tuple of tuple of int or None
        Ranks of each host, whose workers sum among themselves; its first is then the one worker ps-lite knows of it.
        None makes every worker one of ps-lite's. Without servers (one host only) there is no ps-lite at all.
    extra_environment : mapping
        Variables the job names, for every role.
    draw, free_ports : callable
        Source of socket names (default: the system's random source), and of free ports with ``tcp``.

    Raises
    ------
    ValueError
        If the counts cannot be, or `extra_environment` names a variable that belongs to mxspark.
    """
    _check(num_workers, num_servers, servers_on_driver, hosts, extra_environment or {})
    leaders = [members[0] for members in hosts] if hosts else list(range(num_workers))
    counts = (1, num_servers, len(leaders) if num_servers else 0, len(hosts or ()))
    ends = Endpoints.of(_numbers(sum(counts), mode, host_address, draw, free_ports), counts)
    common = {**MALLOC, **(extra_environment or {}), RUN_TAG: run_tag}
    make = _Maker(ends, None if mode == "local" else host_address, common)
    workers = [make.worker(rank, hosts, leaders, threads) for rank in range(num_workers)]
    return _group(workers, make.servers(server_threads), servers_on_driver)


def _group(workers: Sequence[RoleSpec], scheduler_and_servers: Sequence[RoleSpec], on_driver: int) -> Group:
    """Put the scheduler and the first servers beside the driver, and let the other servers go round the slots."""
    first, servers = scheduler_and_servers[: on_driver + 1], scheduler_and_servers[on_driver + 1 :]
    return Group(tuple(first), tuple((worker, *servers[worker.rank :: len(workers)]) for worker in workers))


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
            made = RoleSpec("worker", rank, {**self.common, "OMP_NUM_THREADS": str(omp_threads)}, None)
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
            return RoleSpec(kind, rank, environment, None)
        return RoleSpec(kind, rank, {**environment, "DMLC_LOCAL": "1"}, str(SOCKET_FOLDER / str(port)))


def _label(kind: str, rank: int) -> str:
    """Return a host string that sorts, descending, in order of rank."""
    return f"{kind}{FIRST_LABEL - rank:06d}"


def _check(
    num_workers: int, num_servers: int, servers_on_driver: int, hosts: Optional[Groups], extra: Mapping[str, str]
) -> None:
    fewest = 0 if hosts is not None and len(hosts) == 1 else 1
    if num_workers < 1 or num_servers < fewest or not 0 <= servers_on_driver <= num_servers:
        raise ValueError(
            f"at least one worker and one server are needed, and no more servers on the driver than there are: "
            f"num_workers={num_workers}, num_servers={num_servers}, servers_on_driver={servers_on_driver}"
        )
    ours = sorted(name for name in extra if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES))
    if ours:
        raise ValueError(f"these variables are set by mxspark and cannot be named by a job: {', '.join(ours)}")
