"""What the driver's agent does next with an attempt: recorded facts in, a decision out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from mxspark.agent.attempt import Attempt, Phase
from mxspark.agent.facts import Stage
from mxspark.errors.cause import Cause
from mxspark.protocol.specs import DRIVER, Who
from mxspark.system.procfs import STOPPED


@dataclass(frozen=True)
class Decision:
    """The phase that an attempt is to be in now, the same one where there is nothing to do; `cause` of a failure."""

    phase: Phase
    cause: Optional[Cause] = None


def decide(attempt: Attempt, now: float) -> Decision:
    """Return what to do next. Calling it again with the same facts gives the same answer."""
    if not attempt.is_open:
        return Decision(Phase.OVER if _has_ended(attempt) else attempt.phase)
    # What has failed counts before anything else, also what failed before the driver began the attempt.
    if attempt.failures:
        return Decision(Phase.FAILING, attempt.failures[0])
    # Not before the last has come: only the agents know which of them share a host. And before anything is called late:
    # once all have joined it is the roles that are, and these have no names before they are placed.
    if attempt.phase is Phase.GATHERING and len(attempt.agents.joined) == attempt.spec.size:
        return Decision(Phase.RUNNING)
    late = _stopped(attempt) or _late_start(attempt, now) or _no_progress(attempt, now)
    if late is not None:
        return Decision(Phase.FAILING, late)
    return Decision(Phase.GATHERING) if attempt.phase is Phase.GATHERING else _at_the_end(attempt)


def _has_ended(attempt: Attempt) -> bool:
    """Tell whether nothing is left of an attempt that is to end: after success the agents too must be gone."""
    if attempt.phase is Phase.FINISHING:
        return DRIVER in attempt.agents.cleared and not attempt.agents.alive()
    return not attempt.agents.with_roles()


def _at_the_end(attempt: Attempt) -> Decision:
    found = {rank: attempt.role((role, rank)).digest for role, rank in attempt.workers()}
    digests = {rank: digest for rank, digest in found.items() if digest is not None}
    if len(digests) < attempt.spec.size:
        return Decision(attempt.phase)
    if len(set(digests.values())) > 1:
        return Decision(Phase.FAILING, _differing(attempt, digests))
    return Decision(Phase.FINISHING)


def _late_start(attempt: Attempt, now: float) -> Optional[Cause]:
    limit = attempt.spec.limits.start_s
    if attempt.begun_at is None or (attempt.formed_at is not None and attempt.have_all(Stage.TRAINING)):
        return None
    if attempt.formed_at is not None:
        if now - max(attempt.formed_at, attempt.progress_at or 0.0) < limit:
            return None
        late = [who for who in attempt.workers() if attempt.role(who).stage < Stage.TRAINING]
        missing = [(who, "has not started to train") for who in late]
        what = "the group formed but did not start to train"
    else:
        if now - attempt.begun_at < limit:
            return None
        missing = sorted(_missing(attempt), key=lambda item: item[1] == _ONLY_WAITS)
        what = "the group did not form"
    names = _grouped(missing)
    message = f"{what} within failure.start_s = {limit:g} s: {names}. Look at their logs, or raise failure.start_s"
    return attempt.cause("start", missing[0][0], message)


_ONLY_WAITS = "waits for the others"


def _grouped(missing: Iterable[tuple[Who, str]]) -> str:
    """Return who is how far, roles of one kind and state together: ``agent 1, 2, 5 has not joined``."""
    groups: dict[tuple[str, str], list[str]] = {}
    for (role, rank), why in missing:
        groups.setdefault((role, why), []).append(str(rank))
    return "; ".join(f"{role} {', '.join(ranks)} {why}" for (role, why), ranks in groups.items())


def _missing(attempt: Attempt) -> Iterable[tuple[Who, str]]:
    """Yield who kept the group from forming, and how far each came."""
    for rank in range(attempt.spec.size):
        if rank not in attempt.agents.joined:
            yield ("agent", rank), "has not joined (is its Spark task running?)"
    for who, facts in attempt.roles.items():
        if facts.stage < Stage.FORMED:
            yield who, _SHORT_OF_FORMED[facts.stage]


_SHORT_OF_FORMED = {
    Stage.PLACED: "was not started",
    Stage.STARTED: "has not loaded MXNet",
    Stage.LOADED: _ONLY_WAITS,
}


def _stopped(attempt: Attempt) -> Optional[Cause]:
    """Return the cause if an agent has seen one of its roles stopped for longer than the others may stand still.

    Until an attempt has failed that is the only thing agents examine their roles for. No step may need that role (a
    server inside one host), but the end does.
    """
    for who, facts in attempt.roles.items():
        if facts.examined is not None and facts.examined.state == STOPPED:
            limit = f"failure.hang_s = {attempt.spec.limits.hang_s:g} s"
            return attempt.cause("hang", who, f"it stood still for {limit}. The logs hold the stacks of all threads")
    return None


def _no_progress(attempt: Attempt, now: float) -> Optional[Cause]:
    limit = attempt.spec.limits.hang_s
    if attempt.progress_at is None or now - attempt.progress_at < limit or not attempt.have_all(Stage.TRAINING):
        return None
    steps = {who: attempt.role(who).step or 0 for who in attempt.workers()}
    busy = [who for who in attempt.workers() if attempt.role(who).digest is None]
    behind = min(busy or attempt.workers(), key=lambda who: steps[who])
    message = (
        f"no progress since step {steps[behind]} for failure.hang_s = {limit:g} s; all workers: "
        + ", ".join(f"{rank} at step {step}" for (_, rank), step in steps.items())
        + ". The logs hold the stacks of all threads"
    )
    return attempt.cause("hang", behind, message)


def _differing(attempt: Attempt, digests: Mapping[int, str]) -> Cause:
    listed = ", ".join(f"worker {rank}: {digest}" for rank, digest in digests.items())
    odd = min(rank for rank, digest in digests.items() if digest != digests[0])
    return attempt.cause("internal", ("worker", odd), f"parameters differ between ranks at the end ({listed})")
