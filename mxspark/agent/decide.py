"""What the driver's agent knows of an attempt, and what it does next: plain values in, a decision out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Optional

from mxspark.agent.attempt import FAIL, FINISH, WAIT, Attempt, Who
from mxspark.errors.cause import Cause
from mxspark.system.procfs import STOPPED

PLACE, ENDED = "place", "ended"


@dataclass(frozen=True)
class Decision:
    """What to do: wait, place the roles, fail (because of `cause`), finish (all is done, they may leave) or ended."""

    action: str
    cause: Optional[Cause] = None


def decide(attempt: Attempt, now: float) -> Decision:
    """Return what to do next. Calling it again with the same facts gives the same answer."""
    if attempt.verdict != WAIT:
        away = set(attempt.gone) | (attempt.cleared if attempt.verdict == FAIL else set())
        return Decision(ENDED if attempt.own_roles_ended and away.issuperset(attempt.joined) else WAIT)
    if attempt.failures:
        return Decision(FAIL, attempt.failures[0])
    late = _stopped(attempt) or _late_start(attempt, now) or _no_progress(attempt, now)
    if late is not None:
        return Decision(FAIL, late)
    if attempt.begun_at is not None and not attempt.slot_of and len(attempt.joined) == attempt.size:
        return Decision(PLACE)  # not earlier: only the agents know which of them share a host
    if len(attempt.digests) < attempt.size:
        return Decision(WAIT)
    if len(set(attempt.digests.values())) > 1:
        return Decision(FAIL, _differing(attempt))
    return Decision(FINISH)


def cause_of(attempt: Attempt, kind: str, who: Who, message: str) -> Cause:
    """Return a failure of a role as `Attempt.fail` would note it."""
    probe = replace(attempt, failures=[])
    probe.fail(kind, who, message)
    return probe.failures[0]


def _late_start(attempt: Attempt, now: float) -> Optional[Cause]:
    limit = attempt.limits.start_s
    if attempt.begun_at is None or (attempt.formed_at is not None and attempt.started.issuperset(attempt.workers())):
        return None
    if attempt.formed_at is not None:
        if now - attempt.formed_at < limit:
            return None
        missing = [(who, "has not started to train") for who in attempt.workers() if who not in attempt.started]
        what = "the group formed but did not start to train"
    else:
        if now - attempt.begun_at < limit:
            return None
        missing = sorted(_missing(attempt), key=lambda item: item[1] == _ONLY_WAITS)
        what = "the group did not form"
    names = _grouped(missing)
    message = f"{what} within failure.start_s = {limit:g} s: {names}. Look at their logs, or raise failure.start_s"
    return cause_of(attempt, "start", missing[0][0], message)


_ONLY_WAITS = "waits for the others"


def _grouped(missing: Iterable[tuple[Who, str]]) -> str:
    """Return who is how far, roles of one kind and state together: ``agent 1, 2, 5 has not joined``."""
    groups: dict[tuple[str, str], list[str]] = {}
    for (role, rank), why in missing:
        groups.setdefault((role, why), []).append(str(rank))
    return "; ".join(f"{role} {', '.join(ranks)} {why}" for (role, why), ranks in groups.items())


def _missing(attempt: Attempt) -> Iterable[tuple[Who, str]]:
    """Yield who kept the group from forming, and how far each came."""
    for rank in range(attempt.size):
        if rank not in attempt.joined:
            yield ("agent", rank), "has not joined (is its Spark task running?)"
    for who, slot in attempt.slot_of.items():
        if who in attempt.formed or (slot is not None and slot not in attempt.joined):
            continue
        if who not in attempt.pids:
            yield who, "was not started"
        elif who not in attempt.loaded:
            yield who, "has not loaded MXNet"
        else:
            yield who, _ONLY_WAITS


def _stopped(attempt: Attempt) -> Optional[Cause]:
    """Return the cause if an agent has seen one of its roles stopped for longer than the others may stand still.

    Until an attempt has failed that is the only thing agents examine their roles for. No step may need that role (a
    server inside one host), but the end does.
    """
    for who, found in attempt.examined.items():
        if found.state == STOPPED:
            limit = f"failure.hang_s = {attempt.limits.hang_s:g} s"
            return cause_of(
                attempt, "hang", who, f"it stood still for {limit}. The logs hold the stacks of all threads"
            )
    return None


def _no_progress(attempt: Attempt, now: float) -> Optional[Cause]:
    limit = attempt.limits.hang_s
    if attempt.progress_at is None or not attempt.started.issuperset(attempt.workers()):
        return None
    if now - attempt.progress_at < limit:
        return None
    busy = [who for who in attempt.workers() if who[1] not in attempt.digests]
    behind = min(busy or attempt.workers(), key=lambda who: attempt.steps[who])
    message = (
        f"no progress since step {attempt.steps[behind]} for failure.hang_s = {limit:g} s; all workers: "
        + ", ".join(f"{rank} at step {attempt.steps[role, rank]}" for role, rank in attempt.workers())
        + ". The logs hold the stacks of all threads"
    )
    return cause_of(attempt, "hang", behind, message)


def _differing(attempt: Attempt) -> Cause:
    digests = ", ".join(f"worker {rank}: {digest}" for rank, digest in sorted(attempt.digests.items()))
    reference = attempt.digests[0]
    odd = min(rank for rank, digest in attempt.digests.items() if digest != reference)
    return cause_of(attempt, "internal", ("worker", odd), f"parameters differ between ranks at the end ({digests})")
