"""What a link decides, without doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Optional

from mxspark.link.greeting import Answer, Hello
from mxspark.protocol.link import Connect

FIRST_TRY_S, LONGEST_TRY_S = 0.05, 1.0
PACKET_BYTES = 1000  # about what one carries; what is smaller is a message, for which somebody waits
MANY_BYTES = 16384
CLOSE_S = 0.003
PACKETS = 8
REST_S = 0.001


def answer_to(hello: Hello, order: Optional[Connect]) -> Optional[Answer]:
    """Return what one who is of the run hears, or None while that cannot be known.

    Parameters
    ----------
    order : Connect or None
        Of the attempt this host is at. The other host may have heard of the next one a moment earlier.
    """
    if order is None or hello.attempt > order.attempt:
        return None
    if hello.attempt < order.attempt:
        return Answer.OTHER_ATTEMPT
    if hello.receiver != order.host or hello.sender == order.host or hello.sender >= len(order.hosts):
        return Answer.OTHER_HOST
    if order.encrypt and not hello.encrypt:
        return Answer.MUST_ENCRYPT
    if hello.endpoint and hello.endpoint not in order.here:
        return Answer.NO_SUCH_SOCKET
    return Answer.WELCOME


def whom_to_drop(addresses: Sequence[str]) -> int:
    """Return which of too many strangers has to go: the oldest of the address that most of them come from.

    So nobody can keep others out by calling often, unless from many addresses at once.

    Examples
    --------
    >>> whom_to_drop(["10.0.0.1", "10.0.0.9", "10.0.0.9"])
    1
    """
    return addresses.index(Counter(addresses).most_common(1)[0][0])


def wait_before_try(tries: int) -> float:
    """Return how long to wait before one more try, after so many."""
    return min(LONGEST_TRY_S, FIRST_TRY_S * 2.0 ** min(tries, 10))


class Pace:
    """Says when to rest: packets come so fast, one by one, that to read each costs more than to wait for the next few.

    A reader that wakes for each takes 14 CPU seconds for a GB at 1 Gbit/s. The rest adds a millisecond to the end of
    what comes so, and nothing to messages that go to and fro.

    Attributes
    ----------
    is_resting : bool
        For whoever rests.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._packets = 0
        self.is_resting = False

    def rest_s(self, now: float, taken: int) -> float:
        """Return how long to rest, after so many bytes were read at a time."""
        follows = now - self._last < CLOSE_S
        has_rested = self._packets >= PACKETS
        self._last = now
        if taken < PACKET_BYTES or not follows or (taken >= MANY_BYTES and not has_rested):
            self._packets = 0
        else:
            self._packets += 1
        return REST_S if self._packets >= PACKETS else 0.0
