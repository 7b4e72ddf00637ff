"""The one port of a host: strangers cost little here, wait for little, and are counted."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Callable

from mxspark.link import rules
from mxspark.link.certificates import Contexts
from mxspark.link.door import Door
from mxspark.link.greeting import Greeting, Phase, Refused
from mxspark.link.negotiation import Negotiation
from mxspark.system.loop import Loop

HANDSHAKE_S = 10.0
MOST_STRANGERS = 64


@dataclass(frozen=True)
class Stranger:
    """One that is not known yet: where it comes from, and when it has to be."""

    address: str
    deadline: float


class Listener:
    """Accepts connections and finds out who is of the run.

    Parameters
    ----------
    sock : socket.socket
        Listens, and is owned from now on.
    on_guest : callable
        Called with each who is of the run and has said what it wants, and its address; it is to be answered.
    on_refused : callable
        ``on_refused(address, why)`` of everybody else.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        contexts: Contexts,
        on_guest: Callable[[Negotiation, str], None],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._loop = loop
        self._contexts = contexts
        self._on_guest = on_guest
        self._on_refused = on_refused
        self._strangers: dict[Negotiation, Stranger] = {}
        self._is_waiting = False
        self._door = Door(loop, sock, self._greet)

    def close(self) -> None:
        """Accept nobody any more, and send away whoever is not known yet."""
        self._door.close()
        for stranger in self._strangers:
            stranger.close()
        self._strangers.clear()

    def _greet(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._make_room()
        negotiation = Negotiation(
            self._loop,
            connection,
            Greeting(self._contexts.server),
            self._on_turn,
            lambda why: self._on_refused(self._strangers.pop(negotiation).address, str(why)),
        )
        self._strangers[negotiation] = Stranger(str(address[0]), self._loop.now() + HANDSHAKE_S)
        self._wait()

    def _make_room(self) -> None:
        """Send one away if there are too many: an honest one needs milliseconds, and comes back."""
        if len(self._strangers) >= MOST_STRANGERS:
            addresses = [stranger.address for stranger in self._strangers.values()]
            oldest = list(self._strangers)[rules.whom_to_drop(addresses)]
            oldest.fail(Refused(f"had to go: {MOST_STRANGERS} wait to be known, and most come from its address"))

    def _wait(self) -> None:
        """Wait for the end of the oldest one's time.

        One timer for all: of a flood, those of strangers that are long gone would be kept until they are due.
        """
        if self._strangers and not self._is_waiting:
            self._is_waiting = True
            oldest = next(iter(self._strangers.values()))
            self._loop.after(max(0.0, oldest.deadline - self._loop.now()), self._expire)

    def _expire(self) -> None:
        self._is_waiting = False
        now = self._loop.now()
        for negotiation in [one for one, stranger in self._strangers.items() if stranger.deadline <= now]:
            negotiation.fail(Refused(f"did not say who it is within {HANDSHAKE_S:g} s"))
        self._wait()

    def _on_turn(self, negotiation: Negotiation) -> None:
        if negotiation.greeting.phase is Phase.ASKED:
            self._on_guest(negotiation, self._strangers.pop(negotiation).address)
