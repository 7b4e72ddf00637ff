"""The end of an attempt: what is cleaned up on the driver's host, and the last word about it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Optional

from mxspark.agent.attempt import Attempt
from mxspark.agent.roles import TAIL_LINES
from mxspark.errors.cause import Cause, shorten
from mxspark.protocol import events, specs
from mxspark.system import process_tree, unix_sockets

# A frame holds them all, and six bytes for a character that is not ASCII.
LOGS_LIMIT = 2**20
OTHERS_LIMIT = 16
TEXT_LIMIT = 2**16
STACK_LINES = 100
ORPHANS_S = 1.0

log = logging.getLogger(__name__)


@dataclass
class Remains:
    """What is left of an attempt: to be removed from the driver's host, and to be told in the last word about it.

    Attributes
    ----------
    suffix : str
        What the names of this attempt's logs end in.
    sockets : tuple of str
        Paths that roles and agents may have left.
    logs : dict
        The end of each role's log, by name.
    cause : Cause or None
        Why it failed.
    """

    attempt: Attempt
    suffix: str
    sockets: tuple[str, ...] = ()
    logs: dict[str, str] = field(default_factory=dict)
    cause: Optional[Cause] = None

    def clean_up(self) -> None:
        """Remove from this host what the agents, whose roles have ended, may have left, and agents that stand still."""
        own = {os.getpid(), os.getppid()}
        left = process_tree.kill_tagged(specs.RUN_TAG, self.attempt.spec.run_id, own, ORPHANS_S)
        if left:
            log.warning("processes that had outlived their agents were killed: %s", sorted(left))
        for path in self.sockets:
            unix_sockets.remove_socket(path)
        self.kill_agents(self.attempt.agents.gone)

    def kill_agents(self, ranks: Iterable[int]) -> None:
        """End those agents on this host that have not said that they end: one that is stopped cannot itself."""
        agents = self.attempt.agents
        for rank in set(ranks) - agents.stopped:
            joined = agents.joined[rank]
            if joined.identity == self.attempt.spec.identity:
                process_tree.kill_agent(joined.pid)

    def last_word(self) -> events.Ended:
        """Return the event for the end of the attempt, small enough for a frame."""
        cause = self._with_log(self.cause) if self.cause is not None else None
        others = [_short(other) for other in self.attempt.failures if other is not self.cause]
        room = LOGS_LIMIT // max(1, len(self.logs))
        return events.Ended(
            _short(cause, 1) if cause else None,
            tuple(others[:OTHERS_LIMIT]),
            {name: text[-room:] for name, text in self.logs.items()},
            self.attempt.number,
            self.attempt.lost(self.cause),
        )

    def _with_log(self, cause: Cause) -> Cause:
        """Add what the process at fault has logged last, where the cause does not say it."""
        name = f"{cause.role}-{cause.rank}{self.suffix}"
        if cause.log_tail or name not in self.logs or not cause.traits.shows_log:
            return cause
        count = STACK_LINES if cause.traits.shows_stacks else TAIL_LINES
        return replace(cause, log_tail="".join(self.logs[name].splitlines(keepends=True)[-count:]))


def _short(cause: Cause, among: int = OTHERS_LIMIT) -> Cause:
    """Return a cause that shares `TEXT_LIMIT` with others."""
    room = TEXT_LIMIT // among
    return replace(
        cause,
        message=shorten(cause.message, room),
        traceback=shorten(cause.traceback, room),
        log_tail=shorten(cause.log_tail, room),
    )
