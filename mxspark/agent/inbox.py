"""What the agent of a slot may say, and for whom."""

from __future__ import annotations

from typing import Optional

from mxspark.agent.attempt import Attempt
from mxspark.protocol import events, frames
from mxspark.protocol.specs import Who


def understand(frame: frames.Message, rank: Optional[int], attempt: Attempt) -> Optional[tuple[Who, events.Event]]:
    """Return who says what; None for a beat.

    Parameters
    ----------
    rank : int or None
        Slot of the agent that sent it, None before it has joined.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it makes no sense, or the role is not one of that agent's.
    """
    if "beat" in frame:
        return None
    body = dict(frame)
    source = body.pop("from")
    who = (str(source["role"]), int(source["rank"]))
    event = events.from_wire(body)
    if isinstance(event, events.Joined):
        return who, event
    if rank is None:
        raise ValueError("it must join first")
    # An agent speaks for its own roles alone: a slot that is taken over must not be able to end the training of others.
    if who != ("agent", rank) and (who not in attempt.roles or attempt.roles[who].slot != rank):
        raise ValueError(f"{who} is not of slot {rank}")
    return who, event
