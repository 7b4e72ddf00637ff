"""Failures as data: what a process can say about the end of another, and what a run does next."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from mxspark.errors import MXSparkError, kinds


@dataclass(frozen=True)
class Cause:
    """The first failure of a run.

    Attributes
    ----------
    kind : str
        Name of a row of `mxspark.errors.kinds.KINDS`, which says what it means.
    role : str
        ``scheduler``, ``server``, ``worker``, ``agent``, ``driver``, ``jvm`` (of the driver) or ``spark`` (another
        process of Spark's).
    rank : int
        Rank within the role; of an agent its slot, -1 for that of the driver.
    host, pid
        Where it ran.
    exit_code, signal
        How it ended; at most one of the two. `signal` is a name such as ``SIGKILL``.
    message : str
        One line.
    traceback, log_tail : str
        What the process said last; empty if nothing.
    step : int or None
        Last step known to be done.
    """

    kind: str
    role: str
    rank: int
    host: str
    pid: int
    message: str
    exit_code: Optional[int] = None
    signal: Optional[str] = None
    traceback: str = ""
    log_tail: str = ""
    step: Optional[int] = None

    def __post_init__(self) -> None:
        kinds.check(self.kind)

    @classmethod
    def here(
        cls, kind: str, role: str, message: str, *, rank: int = 0, pid: Optional[int] = None, **details: Any
    ) -> Cause:
        """Return the failure of a process of this host; `pid` is this process's own where it is not given.

        >>> Cause.here("stage", "driver", "cancelled").pid == os.getpid()
        True
        """
        return cls(
            kind=kind,
            role=role,
            rank=rank,
            host=os.uname().nodename,
            pid=os.getpid() if pid is None else pid,
            message=message,
            **details,
        )

    @property
    def traits(self) -> kinds.Kind:
        """Return what is known of its kind."""
        return kinds.KINDS[self.kind]

    def as_error(self) -> MXSparkError:
        """Return the exception of this failure, by who can mend it."""
        return self.traits.error(self.describe(), self)

    @property
    def who(self) -> str:
        """Return the process in words."""
        if (self.role, self.rank) == ("agent", -1):
            return "the driver's agent"
        return _ALONE.get(self.role) or f"{self.role} {self.rank}"

    def describe(self) -> str:
        """Return the whole story: who, where, how, and what it said last."""
        lines = [f"{self.who} on {self.host} (pid {self.pid}): {self.message}"]
        if self.step is not None:
            lines.append(f"last step done: {self.step}")
        if self.traceback:
            lines.append(self.traceback.rstrip())
        elif self.log_tail:
            lines.append("last lines of its log:")
            lines.extend("  | " + line for line in self.log_tail.rstrip().splitlines())
        return "\n".join(lines)


_ALONE = {"driver": "the driver", "jvm": "the driver's JVM", "spark": "a process of Spark's"}


def company(cause: Cause, others: Sequence[Cause]) -> list[str]:
    """Return a line for each kind of failure that followed the first one, ranks that say the same together.

    >>> other = Cause("role", "server", 1, "h", 7, "ended with exit code 1")
    >>> company(Cause("training", "worker", 0, "h", 6, "KeyError: 'x'"), [other])
    ['then: server 1: ended with exit code 1']
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for other in others:
        if (other.role, other.rank, other.pid) != (
            cause.role,
            cause.rank,
            cause.pid,
        ):  # how it ended after its own words
            groups.setdefault((other.role, other.message), []).append(str(other.rank))
    return [
        f"the same on {role} {', '.join(ranks)}"
        if (role, message) == (cause.role, cause.message)
        else f"then: {role} {', '.join(ranks)}: {message}"
        for (role, message), ranks in groups.items()
    ]


def left_behind(rank: int, ended: Sequence[str], limit: int = 5) -> str:
    """Return in words which processes the code of a worker left running; of many the first `limit`.

    >>> left_behind(0, ["sleep 9 (pid 7)", "sleep 9 (pid 8)"], limit=1)
    'worker 0 left processes running, which were ended: sleep 9 (pid 7) and 1 more (see the events)'
    """
    more = f" and {len(ended) - limit} more (see the events)" if len(ended) > limit else ""
    return f"worker {rank} left processes running, which were ended: {', '.join(ended[:limit])}{more}"


def shorten(text: str, limit: int) -> str:
    """Return `text`, or its beginning and end with what was left out said in between, in about `limit` characters.

    >>> shorten("0123456789", 4)
    '01\\n... 6 characters are left out ...\\n89'
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters are left out ...\n{text[-half:]}"


def describe_exit(returncode: int) -> tuple[Optional[int], Optional[str], str]:
    """Split a wait status as `subprocess` gives it into exit code, signal name and words.

    >>> describe_exit(-9)
    (None, 'SIGKILL', 'killed by SIGKILL (another process, or the kernel when memory ran out)')
    """
    if returncode >= 0:
        return returncode, None, f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = " (another process, or the kernel when memory ran out)" if name == "SIGKILL" else ""
    return None, name, f"killed by {name}{hint}"
