"""The one port of a host: strangers cost little here, wait for little, and are counted."""

from __future__ import annotations

import socket
from typing import Any, Callable

from mxspark.link import rules
from mxspark.link.certificates import Contexts
from mxspark.link.door import Door
from mxspark.link.greeting import Greeting, Phase, Refused
from mxspark.link.negotiation import Negotiation
from mxspark.system.loop import Loop

HANDSHAKE_S = 10.0
MOST_STRANGERS = 64


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
        self._strangers: dict[Negotiation, str] = {}
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
        stranger = Negotiation(
            self._loop,
            connection,
            Greeting(self._contexts.server),
            self._on_turn,
            lambda why: self._refuse(stranger, why),
        )
        stranger.limit(HANDSHAKE_S, f"did not say who it is within {HANDSHAKE_S:g} s")
        self._strangers[stranger] = str(address[0])

    def _make_room(self) -> None:
        """Send one away if there are too many: an honest one needs milliseconds, and comes back."""
        if len(self._strangers) >= MOST_STRANGERS:
            oldest = list(self._strangers)[rules.whom_to_drop(list(self._strangers.values()))]
            oldest.fail(Refused(f"had to go: {MOST_STRANGERS} wait to be known, and most come from its address"))

    def _on_turn(self, negotiation: Negotiation) -> None:
        if negotiation.greeting.phase is Phase.ASKED:
            self._on_guest(negotiation, self._strangers.pop(negotiation))

    def _refuse(self, stranger: Negotiation, why: Refused) -> None:
        self._on_refused(self._strangers.pop(stranger), str(why))
