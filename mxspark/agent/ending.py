"""The end of an attempt: what is cleaned up on the driver's host, and the last word about it."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Optional

from mxspark.agent.attempt import Attempt
from mxspark.agent.roles import TAIL_LINES
from mxspark.errors.cause import Cause, shorten
from mxspark.protocol import events, specs
from mxspark.system import process_tree, unix_sockets

# A frame holds them all, and six bytes for a character that is not ASCII.
LOGS_LIMIT, OTHERS_LIMIT, TEXT_LIMIT = 2**20, 16, 2**16
STACK_LINES = 100
ORPHANS_S = 1.0

log = logging.getLogger(__name__)


def misfit(number: int, attempt: Attempt, is_over: bool) -> str:
    """Say that the driver began an attempt that is not the next."""
    return f"the driver began attempt {number} in attempt {attempt.number}, which {'is over' if is_over else 'goes on'}"


def clean_up(run_id: str, sockets: Sequence[str]) -> None:
    """Remove from this host what the agents of an attempt, whose roles have ended, may have left."""
    left = process_tree.kill_tagged(specs.RUN_TAG, run_id, {os.getpid(), os.getppid()}, ORPHANS_S)
    if left:
        log.warning("processes that had outlived their agents were killed: %s", sorted(left))
    for path in sockets:
        unix_sockets.remove_socket(path)


def kill_agents(attempt: Attempt, ranks: Collection[int]) -> None:
    """End agents on this host that should have ended: one that is stopped cannot itself."""
    for rank in ranks:
        joined = attempt.joined[rank]
        if joined.identity == attempt.identity:
            process_tree.kill_agent(joined.pid)


def ended(attempt: Attempt, cause: Optional[Cause], logs: Mapping[str, str], suffix: str) -> events.Ended:
    """Return the event for the end of an attempt.

    Parameters
    ----------
    logs : mapping of str to str
        The end of each role's log by name.
    suffix : str
        What the names of this attempt's logs end in.
    """
    others = [_short(other) for other in attempt.failures if other is not cause]
    if cause is not None:
        name = f"{cause.role}-{cause.rank}{suffix}"
        if not cause.log_tail and name in logs and cause.traits.shows_log:
            lines = logs[name].splitlines(keepends=True)
            count = STACK_LINES if cause.traits.shows_stacks else TAIL_LINES
            cause = replace(cause, log_tail="".join(lines[-count:]))
    room = LOGS_LIMIT // max(1, len(logs))
    return events.Ended(
        _short(cause, 1) if cause else None,
        tuple(others[:OTHERS_LIMIT]),
        {name: text[-room:] for name, text in logs.items()},
        attempt.number,
        attempt.lost(cause),
    )


def _short(cause: Cause, among: int = OTHERS_LIMIT) -> Cause:
    """Return a cause that shares `TEXT_LIMIT` with others."""
    room = TEXT_LIMIT // among
    return replace(
        cause,
        message=shorten(cause.message, room),
        traceback=shorten(cause.traceback, room),
        log_tail=shorten(cause.log_tail, room),
    )
