"""A greeting over a connection, with a limit on every wait."""

from __future__ import annotations

import contextlib
import socket
from typing import Callable, Optional

from mxspark.link.greeting import Answer, BrokeOff, Greeting, Phase, Refused
from mxspark.system.loop import READ, WRITE, Loop, Timer

READ_BYTES = 16384


class Negotiation:
    """Takes a connection as far as its greeting goes.

    Parameters
    ----------
    sock : socket.socket
        Connected, and owned from now on.
    on_turn : callable
        Called with this once a caller is to be answered, and once the greeting is through and all of it sent.
    on_failed : callable
        Called once with the reason; the connection is closed by then.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        greeting: Greeting,
        on_turn: Callable[[Negotiation], None],
        on_failed: Callable[[Refused], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_turn = on_turn
        self._on_failed = on_failed
        self._pending = bytearray()
        self._events = 0
        self._action: Callable[[int], None] = self._on_events  # one object, the loop compares identity
        self._limit: Optional[Timer] = None
        self._told = Phase.SHAKING
        self.greeting = greeting
        # in a turn of its own: whoever makes this has yet to keep it
        self._loop.after(0, self._go_on)

    @property
    def open(self) -> bool:
        """Whether there still is a connection here."""
        return self._sock.fileno() >= 0

    def limit(self, seconds: float, why: str) -> None:
        """Fail if this is still here then; takes the place of a limit before."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = self._loop.after(seconds, lambda: self.fail(BrokeOff(why)))

    def hand_over(self, on_turn: Callable[[Negotiation], None], on_failed: Callable[[Refused], None]) -> None:
        """Let somebody else hear what becomes of it."""
        self._on_turn = on_turn
        self._on_failed = on_failed

    def answer(self, answer: Answer) -> None:
        """Answer a caller; after a no nothing but the end of the connection comes."""
        self.greeting.answer(answer)
        if answer is Answer.WELCOME:
            self._go_on()
        else:
            self._farewell()
            self.close()

    def take(self) -> socket.socket:
        """Hand over the connection, once the greeting is through."""
        self._let_go()
        return socket.socket(fileno=self._sock.detach())

    def fail(self, why: Refused) -> None:
        """Close it and say why."""
        if self.open:
            on_failed = self._on_failed
            self.close()
            on_failed(why)

    def close(self) -> None:
        """Close it without a word to the owner."""
        if self.open:
            self._let_go()
            self._sock.close()

    def _let_go(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._watch(0)
        # Nothing of it may refer to itself: TLS takes much memory, and who is refused must not wait for the collector.
        self._action = _nothing
        self._on_turn = _nothing
        self._on_failed = _nothing

    def _watch(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._loop.watch(self._sock.fileno(), events, self._action)

    def _on_events(self, events: int) -> None:
        if events & READ:
            self._read()
        self._go_on()

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(BrokeOff(f"broke off before it was known: {error.strerror}"))
            return
        if not data:
            self.fail(BrokeOff("left before it was known"))
            return
        try:
            self.greeting.feed(memoryview(data))
        except Refused as refused:
            self._farewell()
            self.fail(refused)

    def _farewell(self) -> None:
        """Send what there is to be said to one that is refused, if that is possible at once."""
        with contextlib.suppress(OSError):
            self._sock.send(self._pending + self.greeting.tls.take_outgoing())
            self._sock.shutdown(socket.SHUT_WR)

    def _go_on(self) -> None:
        if not self.open:
            return
        self._pending += self.greeting.tls.take_outgoing()
        try:
            if self._pending:
                del self._pending[: self._sock.send(self._pending)]
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(BrokeOff(f"broke off before it was known: {error.strerror}"))
            return
        phase = self.greeting.phase
        is_through = phase is Phase.THROUGH  # what comes then is read by whoever takes it
        self._watch((0 if is_through else READ) | (WRITE if self._pending else 0))
        if phase in (Phase.ASKED, Phase.THROUGH) and phase is not self._told and not self._pending:
            self._told = phase
            self._on_turn(self)


def _nothing(_of: object) -> None:
    """Do nothing."""
