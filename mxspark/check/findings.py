"""What ``mxspark check`` looks at and says, as data: pure; the words are in `verdict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

OK = "ok"
WARNING = "warning"
PROBLEM = "problem"
INPUT = "input"
CLUSTER = "cluster"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    subject : str
        What was looked at, in a word or two.
    status : str
        ``ok``, ``warning`` (it works, or may) or ``problem`` (it does not).
    seen : str
        What was found.
    fix : str
        What to do about it, "" where nothing is or where `seen` says it.
    by : str
        Whose it is to mend: ``input`` (configuration, data, job dir) or ``cluster``.
    """

    subject: str
    status: str
    seen: str
    fix: str = ""
    by: str = CLUSTER


@dataclass(frozen=True)
class Disk:
    """A local folder of Spark's: bytes free, and why nothing can be written ("" where it can)."""

    path: str
    free: int
    trouble: str = ""


@dataclass(frozen=True)
class Built:
    """What a process like a worker's came to: the network's trained values (None: not built), or what it raised.

    `late` tells that it did not end in time; `graph` is what the network computes, `factors` what its parameters say
    beside that.
    """

    mxnet: str = ""
    values: Optional[int] = None
    trouble: str = ""
    by_user: bool = False
    late: bool = False
    graph: tuple[str, ...] = ()
    factors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """What one task of a barrier stage saw of its place.

    Attributes
    ----------
    python, packages
        Versions; "" for a package that is not there.
    identity : str
        `topology.identity.host_identity`.
    socket, memory : str
        Why no unix socket can be bound in ``/tmp``, and no memory shared; "" where they can.
    files : int
        Soft limit on open files; -1 for none.
    threads, threads_now : int
        Soft limit on threads of this user (-1 for none), and how many there are.
    ports : tuple of int
        The range that local ports are drawn from.
    to_driver, from_driver : str
        Why driver and task do not reach each other, by who opens the connection; "" where they do.
    clock_s : float
        How much later this host's clock is than the driver's.
    """

    rank: int
    host: str
    python: str
    packages: dict[str, str]
    identity: str
    socket: str = ""
    memory: str = ""
    disks: tuple[Disk, ...] = ()
    files: int = -1
    threads: int = -1
    threads_now: int = 0
    ports: tuple[int, ...] = (32768, 60999)
    cores: int = 1
    to_driver: str = ""
    from_driver: str = ""
    clock_s: float = 0.0
    gpus: tuple[str, ...] = ()
    built: Built = field(default_factory=Built)


@dataclass(frozen=True)
class Expected:
    """What the driver has, and what the job asks of each host."""

    python: str
    packages: dict[str, str]
    identity: str
    roles: int
    threads: int
    local_sockets: bool = True


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 without a problem, 2 if one is the user's input, else 4."""
    problems = [finding for finding in findings if finding.status == PROBLEM]
    if not problems:
        return 0
    return 2 if any(finding.by == INPUT for finding in problems) else 4
