"""Where something stands: one value of an enum, and a table of the steps that may follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TypeVar

from mxspark.errors import InternalError

P = TypeVar("P", bound=Enum)


def advance(what: str, now: P, to: P, steps: Mapping[P, Collection[P]]) -> P:
    """Return `to`, if that may follow.

    Parameters
    ----------
    what : str
        What stands there, for the message.
    steps : mapping of Enum to collection of Enum
        Which phases may follow which.

    Raises
    ------
    InternalError
        If it may not: a mistake of ours that must not pass for a race.

    Examples
    --------
    >>> Door = Enum("Door", ["OPEN", "SHUT"])
    >>> advance("a door", Door.OPEN, Door.SHUT, {Door.OPEN: [Door.SHUT], Door.SHUT: [Door.OPEN]}).name
    'SHUT'
    """
    if to not in steps[now]:
        raise InternalError(f"{what} cannot go from {now.name} to {to.name}; please report it with the run's folder")
    return to
