"""One direction of a carried connection: bytes from a source to a sink, a bounded number of them held at a time.

What is held is sent before more is taken, so that a sink that does not read makes its source wait. One end of a flow is
the unix socket of a role of this host, the other the connection to another host, and they fail differently: a role that
is gone has closed its socket, as it may; a host that is gone was lost, with whatever it still had to say.
"""

from __future__ import annotations

import contextlib
import socket
from abc import ABC, abstractmethod
from enum import Enum

from mxspark.errors.phase import advance

LITTLE_BYTES = 16384
ROUNDS = 8  # a flow that always has something must not keep the others waiting


class Lost(Exception):
    """The connection to the other host broke."""


class Phase(Enum):
    """How far a flow is."""

    FLOWING = "bytes come and go"
    GONE = "the role that they are for is gone, and they can go nowhere"
    ENDING = "the source has ended, and what is held is still to go"
    OVER = "the sink has been told that nothing more comes"


STEPS = {
    Phase.FLOWING: (Phase.GONE, Phase.ENDING),
    Phase.ENDING: (Phase.GONE, Phase.OVER),
    Phase.GONE: (),
    Phase.OVER: (),
}


class Flow(ABC):
    """One direction.

    Parameters
    ----------
    source, sink : socket.socket
        Not blocking, and not owned.
    from_far : bool
        Whether the source, and not the sink, is the connection to the other host.

    Attributes
    ----------
    moved : int
        Bytes taken from the source.
    """

    def __init__(self, source: socket.socket, sink: socket.socket, from_far: bool) -> None:
        self._source = source
        self._sink = sink
        self._from_far = from_far
        self.phase = Phase.FLOWING
        self.moved = 0

    @property
    def wants_source(self) -> bool:
        """Whether it waits for the source."""
        return self.phase is Phase.FLOWING and not self.holds

    @property
    def wants_sink(self) -> bool:
        """Whether it waits for the sink."""
        return self.phase in (Phase.FLOWING, Phase.ENDING) and self.holds

    @property
    def arrived(self) -> int:
        """Bytes that came from the source, in whatever form."""
        return self.moved

    def pump(self) -> None:
        """Move what can be moved now.

        Raises
        ------
        Lost
            If the connection to the other host broke.
        """
        for _ in range(ROUNDS):
            if self.phase in (Phase.GONE, Phase.OVER) or (self.holds and not self._drain()):
                break
            if self.phase is Phase.ENDING:
                self._pass_end_on()
            elif not self._fill():
                break

    def _fill(self) -> bool:
        """Take some, and return whether to go on at once: a source of which little came has no more for now."""
        try:
            taken = self.take()
        except BlockingIOError:
            return False
        except OSError as error:
            if self._from_far:
                raise Lost(f"the connection broke: {error}") from error
            taken = 0  # a role that was killed with something unread; what it has written was taken before
        if taken == 0:
            self._step_to(Phase.ENDING)
            self._end()
        self.moved += taken
        if 0 < taken < LITTLE_BYTES:
            self._drain()
            return False
        return True

    def _drain(self) -> bool:
        """Pass on what is held, and return whether nothing is any more."""
        try:
            while self.holds:
                self.give()
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._from_far:
                raise Lost(f"the connection broke: {error}") from error
            self._step_to(Phase.GONE)
            return False
        return True

    def _end(self) -> None:
        try:
            self.end()
        except OSError as error:
            raise Lost(f"the connection broke: {error}") from error

    def _pass_end_on(self) -> None:
        with contextlib.suppress(OSError):  # its reader may be gone as well
            self._sink.shutdown(socket.SHUT_WR)
        self._step_to(Phase.OVER)

    def _step_to(self, phase: Phase) -> None:
        self.phase = advance("one direction of a link", self.phase, phase, STEPS)

    @property
    @abstractmethod
    def holds(self) -> bool:
        """Whether something is held."""

    @abstractmethod
    def take(self) -> int:
        """Take some from the source, and return how much of it; 0 is its end."""

    @abstractmethod
    def give(self) -> None:
        """Let the sink have some of what is held."""

    @abstractmethod
    def end(self) -> None:
        """Hold what the sink is to get after the last byte."""

    @abstractmethod
    def close(self) -> None:
        """Free what it has of its own."""
