"""What a role ran out of, where it raised because memory, a disk, files or processes were gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mxspark.protocol import events
from mxspark.system import limits


def explain(event: events.Raised, pid: int, folders: Sequence[str]) -> events.Raised:
    """Return what a role raised, with the limit it met where memory, a disk, files or processes ran out.

    Parameters
    ----------
    pid : int
        The role, or its agent if it could not be started.
    folders : sequence of str
        Where it writes; looked at when a full disk is not named.
    """
    lack, words = limits.lack_in(f"{event.type}: {event.message}", pid, folders)
    if not lack:
        return event
    message = f"{words}: {event.message}" if lack == "memory" else f"{event.message}; {words}"
    return replace(event, who=lack, message=message)
