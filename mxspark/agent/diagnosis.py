"""Who is to blame when nothing moves: the evidence of an examination of every role."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from mxspark.agent.attempt import Attempt
from mxspark.errors.cause import Cause
from mxspark.protocol import events

STOPPED_STATES, BLOCKED_STATE = ("T", "t"), "D"  # as /proc has them


def blame(attempt: Attempt, cause: Cause) -> Cause:
    """Return the cause of a hang or a late start, told of the role that is at fault if its examination shows one.

    A process that was stopped is, then one that is blocked in the kernel, then a worker in code of the user: the others
    wait for it.
    """
    reports = [facts.examined for facts in attempt.roles.values() if facts.examined is not None]
    for found in sorted(reports, key=lambda found: (found.role, found.rank)):
        if found.state in STOPPED_STATES:
            words = "it was stopped by a signal (state T in /proc); kill -CONT lets it go on"
            return _at_fault(attempt, cause, found, words, "SIGSTOP")
    for found in reports:
        if found.state == BLOCKED_STATE:
            words = "it is blocked in the kernel (state D in /proc): a disk or network"
            return _at_fault(attempt, cause, found, words)
    for found in reports:
        named = (found.role, found.rank) == (cause.role, cause.rank)
        if found.inside and (named or cause.traits.may_blame_another):
            return _at_fault(attempt, cause, found, f"its main thread is in {found.inside}")
    return cause


def _at_fault(
    attempt: Attempt, cause: Cause, found: events.Examined, words: str, signal: Optional[str] = None
) -> Cause:
    blamed = attempt.cause(cause.kind, (found.role, found.rank), f"{words}; {cause.message}")
    return replace(blamed, signal=signal)
