"""Failures as data: what a process can say about the end of another, and what a run does next."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Cause:
    """The first failure of a run.

    Attributes
    ----------
    kind : str
        ``role`` (a role process ended), ``agent`` (the process that owned roles is gone), ``stage`` (Spark ended the
        stage), ``training`` (the user's code raised), ``input`` (the data or the job dir), ``memory`` (out of memory),
        ``disk`` (no room on one), ``limit`` (files or processes), ``hang``, ``start`` (did not form in time), ``host``
        (roles cannot meet there), ``internal`` (our own mistake), ``interrupted`` (the driver asked for the end),
        ``owner`` (a run of another job owns the job dir), ``taken`` (a later run took it over), ``removed`` (it is
        gone), ``killed`` (the driver or its JVM), ``stopped`` (a process that is no role stood still, by SIGSTOP or
        Ctrl-Z), ``driver`` (anything else that no role process is behind).
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
_AGAIN = "start the same command again: it goes on from the newest checkpoint"
_REMEDIES = {
    "role": f"{_AGAIN}. If the log shows no reason, ask who sent the signal: dmesg -T, the cluster manager's log",
    "agent": f"{_AGAIN}. Look at the executor's log (yarn logs, or the Spark UI) for why its process ended",
    "stage": f"{_AGAIN}, unless somebody cancelled it on purpose. The Spark UI and the executors' logs say more",
    "training": "mend the code the traceback points to, then start the same command again: it goes on from the newest "
    "checkpoint",
    "input": "change what is named, then start again",
    "memory": "give a worker more memory (spark.executor.memoryOverhead on YARN, the container's limit elsewhere), or "
    f"let it need less (a smaller training.batch_size, fewer workers a host), then {_AGAIN}",
    "disk": f"make room on the disk that is named, or point spark.local.dir to another one, then {_AGAIN}",
    "limit": f"raise the limit that is named for the user the executors run as, then {_AGAIN}",
    "hang": "the log holds the stacks of every thread: see what they wait for. If a step really takes that long, raise "
    f"failure.hang_s; else {_AGAIN}",
    "start": "see who is named and the log of each: no slot, a slow disk, or a slow host? Raise failure.start_s, or "
    f"{_AGAIN}",
    "host": "run all tasks on the driver's host, as one user, with one /tmp",
    "internal": "please report it with this message and the run's folder",
    "interrupted": _AGAIN,
    "owner": "wait for the end of the run that is named, or stop it, or take the job dir over with --take-over "
    "(job.take_over: true)",
    "taken": "let the run that is named finish: it goes on from the newest checkpoint. If it is a mistake, stop it, "
    "then start this command again",
    "removed": "find out who removes it (a clean-up of old folders, a disk that is not mounted any more). If it can be "
    "put back (HDFS keeps what was removed in .Trash for a while), the same command goes on from the newest "
    "checkpoint; if not, from the beginning",
    "killed": f"{_AGAIN}. Ask who sent the signal: dmesg -T (the kernel, out of memory), the cluster manager's log",
    "stopped": f"{_AGAIN}. Ask who stopped the process: kill -STOP, a Ctrl-Z, a debugger",
    "driver": "change what is named, then start again",
}


def remedy(cause: Cause) -> str:
    """Return what the user can do about a failure."""
    return remedy_of(cause.kind)


def remedy_of(kind: str) -> str:
    """Return what the user can do about a failure of a kind; messages that say it too take it from here."""
    return _REMEDIES.get(kind, _AGAIN)


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


IN_PLACE, STAGE, STOP = "in place", "stage", "stop"
LONGEST_WAIT_S = 60.0
#: Causes that may be gone the next time. The others would only be met again, later.
HEALING = ("role", "agent", "stage", "hang", "start", "stopped")
#: Signals that come from outside; the code a process runs is not to blame for them.
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP")


@dataclass(frozen=True)
class Policy:
    """How often a run may be restarted; see ``failure`` in ``conf/job.yaml``."""

    max_restarts: int
    backoff_s: float


@dataclass(frozen=True)
class Failed:
    """An attempt that failed.

    Attributes
    ----------
    cause : Cause
        What failed first.
    began : int
        Step from which it went on.
    progressed : bool
        Whether it had committed a checkpoint newer than the one it began from.
    whole : bool
        Whether every agent of the gang still lives, so that only the roles have to be started anew.
    """

    cause: Cause
    began: int
    progressed: bool
    whole: bool


@dataclass(frozen=True)
class Next:
    """What to do after a failure: restart ``in place``, as a new ``stage``, or ``stop``; after `wait_s`; and why."""

    action: str
    wait_s: float
    reason: str


def decide(failed: Sequence[Failed], policy: Policy) -> Next:
    """Return what a run does after its attempts so far, all of which failed.

    Restarts count from the last attempt that made progress. The first comes at once, the others after a wait that
    doubles. A process that ends itself in the same way twice in a row, on the way from the same checkpoint to the next,
    does not do so by chance.
    """
    last = failed[-1]
    if last.cause.kind not in HEALING:
        return Next(STOP, 0.0, _HOPELESS.get(last.cause.kind, "the next attempt would meet it again"))
    if len(failed) > 1 and _same(failed[-2], last):
        where = f"between step {last.began} and the next checkpoint"
        return Next(STOP, 0.0, f"the same failure came twice in a row, both times {where}")
    count = _restarts(failed)
    if count >= policy.max_restarts:
        limit = f"failure.max_restarts = {policy.max_restarts}"
        return Next(STOP, 0.0, f"{count} restart{'' if count == 1 else 's'} without progress ({limit})")
    wait_s = 0.0 if count == 0 else min(policy.backoff_s * 2 ** (count - 1), LONGEST_WAIT_S)
    return Next(IN_PLACE if last.whole else STAGE, wait_s, f"restart {count + 1} of {policy.max_restarts}")


_HOPELESS = {
    "training": "an error of the training code would come again",
    "input": "the data or the job dir would be the same again",
    "memory": "it would run out of memory again",
    "disk": "the disk would be full again",
    "limit": "it would meet the limit again",
    "host": "the roles could not meet there again",
    "internal": "it is a mistake of mxspark's own, please report it",
    "interrupted": "the end was asked for",
}


def _restarts(failed: Sequence[Failed]) -> int:
    """Return how many restarts were used up without progress."""
    count = 0
    for attempt in reversed(failed):
        if attempt.progressed:
            break
        count += 1
    else:
        return count - 1  # the first attempt was no restart
    return count


def _same(one: Failed, other: Failed) -> bool:
    """Tell whether two attempts failed in the same way on the same way, by their own doing."""
    a, b = one.cause, other.cause
    if a.signal in FROM_OUTSIDE or a.kind in ("agent", "stage", "stopped") or one.progressed or other.progressed:
        return False
    return (a.kind, a.role, a.exit_code, a.signal, one.began) == (b.kind, b.role, b.exit_code, b.signal, other.began)
