"""Failures as data: what a process can say about the end of another."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Cause:
    """The first failure of a run.

    Attributes
    ----------
    kind : str
        ``role`` (a role process ended), ``agent`` (the process that owned roles is gone), ``training`` (the user's code
        raised), ``input`` (the data or the job dir), ``hang``, ``start`` (did not form in time), ``internal`` (our own
        mistake), ``interrupted`` (the driver asked for the end).
    role : str
        ``scheduler``, ``server``, ``worker`` or ``agent``.
    rank : int
        Rank within the role.
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

    def describe(self) -> str:
        """Return the whole story: who, where, how, and what it said last."""
        lines = [f"{self.role} {self.rank} on {self.host} (pid {self.pid}): {self.message}"]
        if self.step is not None:
            lines.append(f"last step done: {self.step}")
        if self.traceback:
            lines.append(self.traceback.rstrip())
        elif self.log_tail:
            lines.append("last lines of its log:")
            lines.extend("  | " + line for line in self.log_tail.rstrip().splitlines())
        return "\n".join(lines)


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
