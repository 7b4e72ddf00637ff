"""What a run does after a failure: a pure function of the attempts so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mxspark.errors.cause import Cause

# What comes after an attempt that failed, in the words of `--result`.
IN_PLACE = "in place"
STAGE = "stage"
STOP = "stop"
APPLICATION = "application"

LONGEST_WAIT_S = 60.0

#: Signals that come from outside; the code a process runs is not to blame for them.
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP")


@dataclass(frozen=True)
class Policy:
    """How often a run may be restarted; see ``failure`` in ``config/job.yaml``."""

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
    has_progressed : bool
        Whether it had committed a checkpoint newer than the one it began from.
    is_whole : bool
        Whether every agent of the gang still lives, so that only the roles have to be started anew.
    """

    cause: Cause
    began: int
    has_progressed: bool
    is_whole: bool


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
    if not last.cause.traits.heals:
        return Next(STOP, 0.0, last.cause.traits.why_hopeless)
    if len(failed) > 1 and _same(failed[-2], last):
        where = f"between step {last.began} and the next checkpoint"
        return Next(STOP, 0.0, f"the same failure came twice in a row, both times {where}")
    count = _restarts(failed)
    if count >= policy.max_restarts:
        limit = f"failure.max_restarts = {policy.max_restarts}"
        return Next(STOP, 0.0, f"{count} restart{'' if count == 1 else 's'} without progress ({limit})")
    wait_s = 0.0 if count == 0 else min(policy.backoff_s * 2 ** (count - 1), LONGEST_WAIT_S)
    return Next(IN_PLACE if last.is_whole else STAGE, wait_s, f"restart {count + 1} of {policy.max_restarts}")


def _restarts(failed: Sequence[Failed]) -> int:
    """Return how many restarts were used up without progress."""
    count = 0
    for attempt in reversed(failed):
        if attempt.has_progressed:
            break
        count += 1
    else:
        return count - 1  # the first attempt was no restart
    return count


def _same(one: Failed, other: Failed) -> bool:
    """Tell whether two attempts failed in the same way on the same way, by their own doing."""
    a, b = one.cause, other.cause
    if a.signal in FROM_OUTSIDE or a.traits.comes_from_outside or one.has_progressed or other.has_progressed:
        return False
    return (a.kind, a.role, a.exit_code, a.signal, one.began) == (b.kind, b.role, b.exit_code, b.signal, other.began)
