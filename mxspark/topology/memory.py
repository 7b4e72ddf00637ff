"""How much memory the processes of a run need, and whether a container of YARN has room for them. Pure.

YARN's NodeManager adds up the resident memory of all processes of a container, shared and mapped pages in each of them
(``ProcfsBasedProcessTree``), and kills the container when that is more than heap and overhead together. The figures are
peaks measured by ``bench/footprint.py``, rounded up.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Optional

MIB = 2**20
MAPPED_BYTES = 256 * MIB
"""Mapped pages of spooled rows that a worker keeps, where they count."""

# MiB: a JVM beside its heap, Spark's Python daemon, each of its workers, and our processes without a network.
JVM = 200
PYTHON = 60
TASK = 150
AGENT = 30
SCHEDULER = 80
SERVER = 85
WORKER = 170
DRIVER = 250
"""MiB: the Python of a driver that runs in the cluster."""
_LOWEST_OVERHEAD, _FACTOR = 384, 0.1  # of Spark, for its JVM alone
_VALUE_BYTES = 4
# Times the parameters: in a worker without and in a server with all, and a worker's states of the optimizer.
_IN_WORKER = 10
_IN_SERVER = 2
_STATES = 2
_ROUND = 64


@dataclass(frozen=True)
class Part:
    """Some processes of one kind in a container: how many, and the MiB of each."""

    name: str
    count: int
    mib: int


@dataclass(frozen=True)
class Container:
    """One container and what runs in it.

    Attributes
    ----------
    kind : str
        ``executor`` or ``driver``: whose settings of Spark it follows.
    heap, overhead : int
        MiB it is given for the JVM's heap, and beside.
    parts : tuple of Part
        What is beside the heap.
    """

    kind: str
    heap: int
    overhead: int
    parts: tuple[Part, ...]

    @property
    def need(self) -> int:
        """MiB needed beside the heap."""
        return sum(part.count * part.mib for part in self.parts)

    @property
    def fits(self) -> bool:
        """Whether all of it has room, with a heap that is full."""
        return self.need <= self.overhead

    @property
    def is_hopeless(self) -> bool:
        """Whether it would not have room even with half of the heap."""
        return self.need > self.overhead + self.heap // 2

    @property
    def setting(self) -> str:
        """Return what to tell spark-submit."""
        return f"--conf spark.{self.kind}.memoryOverhead={math.ceil(self.need / _ROUND) * _ROUND}m"

    def describe(self) -> str:
        """Return what is needed, part by part, and what there is."""
        parts = ", ".join(f"{part.count} {part.name} of {part.mib}" for part in self.parts)
        return (
            f"the {self.kind}'s container has {self.overhead} MiB beside {self.heap} MiB of heap, and needs about "
            f"{self.need} MiB there ({parts})"
        )


def executor(
    *,
    heap: int,
    overhead: int,
    slots: int,
    workers: int,
    servers: int,
    values: Optional[int] = None,
    batch_mib: int = 0,
) -> Container:
    """Return the fullest container of an executor.

    Parameters
    ----------
    slots : int
        Tasks it runs at once.
    workers, servers : int
        Of the whole run, beside the tasks.
    values : int, optional
        Number of trained parameters; without it the network counts as nothing.
    batch_mib : int
        Rows of one batch of a worker, in MiB; a few of them are there at once.
    """
    here = max(1, min(slots, workers))
    parameters = math.ceil((values or 0) * _VALUE_BYTES / MIB)
    worker = WORKER + (_IN_WORKER + 2 * _STATES) * parameters + 4 * batch_mib + MAPPED_BYTES // MIB * bool(batch_mib)
    parts = [Part("JVM", 1, JVM), Part("Python daemon", 1, PYTHON), Part("Python task", here, TASK)]
    parts += [Part("agent", here, AGENT), Part("worker", here, worker)]
    if servers:
        parts.append(Part("server", math.ceil(servers / workers) * here, SERVER + _IN_SERVER * parameters))
    return Container("executor", heap, overhead, tuple(parts))


def driver(*, heap: int, overhead: int, servers: int, has_scheduler: bool, values: Optional[int] = None) -> Container:
    """Return the container of a driver that runs in the cluster, with so many servers beside it."""
    parameters = math.ceil((values or 0) * _VALUE_BYTES / MIB)
    parts = [Part("JVM", 1, JVM), Part("Python driver", 1, DRIVER), Part("agent", 1, AGENT)]
    if has_scheduler:
        parts.append(Part("scheduler", 1, SCHEDULER))
    if servers:
        parts.append(Part("server", servers, SERVER + _IN_SERVER * parameters))
    return Container("driver", heap, overhead, tuple(parts))


def mib(text: str, unit: str = "m") -> int:
    """Return a size as Spark writes them, in MiB.

    >>> mib("2g"), mib("700"), mib("1536k")
    (2048, 700, 1)
    """
    match = re.fullmatch(r"\s*(\d+)\s*([bkmgt]?)(?:i?b)?\s*", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no size such as 700m or 2g")
    factors = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    return int(match.group(1)) * factors[match.group(2) or unit] // MIB


def overhead_of(heap: int, given: Optional[str], factor: Optional[str] = None) -> int:
    """Return the MiB beside the heap as Spark works them out: what is given, or a share of the heap."""
    if given:
        return mib(given)
    return max(int(heap * float(factor or _FACTOR)), _LOWEST_OVERHEAD)


def killed_by_yarn(text: str) -> Optional[str]:
    """Return what YARN said if it killed a container for its memory, None if that is not in the text.

    >>> killed_by_yarn("ExecutorLostFailure: Container killed by YARN for exceeding physical memory limits. 1.5 GB of "
    ...                "1.4 GB physical memory used. Consider boosting spark.executor.memoryOverhead.")
    'Container killed by YARN for exceeding physical memory limits. 1.5 GB of 1.4 GB physical memory used'
    """
    match = re.search(
        r"Container killed by YARN for exceeding (?:physical|virtual) memory limits(?:\. [\d.]+ \w+ of [\d.]+ \w+ "
        r"(?:physical|virtual) memory used)?",
        text,
    )
    return match.group(0) if match else None
