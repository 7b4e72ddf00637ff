"""All that a link holds of one attempt: what it stands in for, whom it watches, and what it carries."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Callable, Optional, Protocol

from mxspark.link import movers
from mxspark.link.bridge import Bridge
from mxspark.link.call import Call, Target
from mxspark.link.certificates import Contexts
from mxspark.link.greeting import Answer, BrokeOff, Hello, Phase, Refused
from mxspark.link.negotiation import Negotiation
from mxspark.link.sockets import Approach, Stand
from mxspark.link.watch import Watch
from mxspark.protocol import link
from mxspark.system.loop import Loop

HEARD = 0.8  # of the time that a caller waits a role may take, so that it hears of one that does not come


class Held(Protocol):
    """Anything of an attempt that has to be let go of at its end."""

    def close(self) -> None:
        """Let go."""


class Connections:
    """The connections of an attempt, from its order to its end.

    Parameters
    ----------
    say : callable
        Tells the agent.

    Raises
    ------
    OSError
        If a socket cannot be bound.
    """

    def __init__(
        self, loop: Loop, contexts: Contexts, order: link.Connect, say: Callable[[link.Message], None]
    ) -> None:
        self._contexts = contexts
        self._say = say
        self._held: set[Held] = set()
        self._unmet = set(range(len(order.hosts))) - {order.host}
        self._broken: set[int] = set()
        self._sent = 0
        self._received = 0
        self._began = loop.now()
        self.loop = loop
        self.order = order
        try:
            for endpoint, host in order.there:
                self.hold(Stand(loop, self.path(endpoint), partial(self._reach, host, endpoint)))
        except OSError:
            self.close()
            raise
        for host in sorted(self._unmet):
            Meeting(self, host)
        self._tell_if_all_are_met()

    def welcome(self, negotiation: Negotiation, hello: Hello) -> None:
        """Serve a guest that may have what it wants."""
        Incoming(self, negotiation, hello)

    def close(self) -> tuple[int, int]:
        """End all of it, and return how many bytes were carried to other hosts and from them."""
        while self._held:
            held = self._held.pop()
            if isinstance(held, Bridge):
                self._count(held)
            held.close()
        return self._sent, self._received

    def hold(self, held: Held) -> None:
        """Let go of something at the end."""
        self._held.add(held)

    def release(self, held: Held) -> None:
        """It is over already."""
        self._held.discard(held)

    def path(self, endpoint: int) -> str:
        """Return where the socket of a role is, or seems to be."""
        return os.path.join(self.order.folder, str(endpoint))

    def call(
        self, host: int, endpoint: int, on_through: Callable[[Negotiation], None], on_failed: Callable[[str], None]
    ) -> Call:
        """Call another host."""
        encrypt = self.order.encrypt or endpoint == 0
        hello = Hello(self.order.attempt, self.order.host, host, endpoint, encrypt)
        target = Target(self.order.hosts[host], hello, self.order.start_s)
        return Call(self.loop, self._contexts.client, target, on_through, on_failed)

    def join(self, near: socket.socket, negotiation: Negotiation, host: int) -> None:
        """Carry what a role and another host have to say to each other."""
        greeting = negotiation.greeting
        far = negotiation.take()
        is_encrypted = greeting.hello is not None and greeting.hello.encrypt
        first = b"" if is_encrypted else greeting.tls.take_rest()
        flows = movers.both(near, far, greeting.tls if is_encrypted else None, first)
        self.hold(Bridge(self.loop, near, far, flows, partial(self._ended, host)))

    def watch(self, negotiation: Negotiation, host: int) -> None:
        """Notice when the link of another host is gone."""
        far = negotiation.take()
        self.hold(Watch(self.loop, far, negotiation.greeting.tls, self.order.silence_s, partial(self.lost, host)))

    def met(self, host: int) -> None:
        """The link of another host has answered."""
        self._unmet.discard(host)
        self._tell_if_all_are_met()

    def lost(self, host: int, why: str) -> None:
        """Tell, once, that something is wrong between this host and another."""
        if host not in self._broken:
            self._broken.add(host)
            address, port = self.order.hosts[host]
            self._say(link.Broken(self.order.attempt, host, f"{address} port {port}", why))

    def _reach(self, host: int, endpoint: int, near: socket.socket) -> None:
        Outgoing(self, host, endpoint, near)

    def _tell_if_all_are_met(self) -> None:
        if not self._unmet:
            self._say(link.Connected(self.order.attempt, round(self.loop.now() - self._began, 3)))

    def _ended(self, host: int, bridge: Bridge, why: Optional[str]) -> None:
        self.release(bridge)
        self._count(bridge)
        if why is not None:
            self.lost(host, why)

    def _count(self, bridge: Bridge) -> None:
        sent, received = bridge.moved
        self._sent += sent
        self._received += received


class Meeting:
    """This link meets that of another host, before any role needs it: what is in the way is known at once."""

    def __init__(self, connections: Connections, host: int) -> None:
        self._connections = connections
        self._host = host
        self._call = connections.call(host, 0, self._through, self._failed)
        connections.hold(self)

    def close(self) -> None:
        """Meet it no more."""
        self._call.close()

    def _through(self, negotiation: Negotiation) -> None:
        self._connections.release(self)
        self._connections.watch(negotiation, self._host)
        self._connections.met(self._host)

    def _failed(self, why: str) -> None:
        self._connections.release(self)
        self._connections.lost(self._host, why)


class Outgoing:
    """A role of this host has connected to where one of another host seems to be."""

    def __init__(self, connections: Connections, host: int, endpoint: int, near: socket.socket) -> None:
        self._connections = connections
        self._host = host
        self._near = near
        self._call = connections.call(host, endpoint, self._through, self._failed)
        connections.hold(self)

    def close(self) -> None:
        """Send the role away."""
        self._call.close()
        self._near.close()

    def _through(self, negotiation: Negotiation) -> None:
        self._connections.release(self)
        self._connections.join(self._near, negotiation, self._host)

    def _failed(self, why: str) -> None:
        self._connections.release(self)
        self._near.close()
        self._connections.lost(self._host, why)


class Incoming:
    """Another host wants to reach a role of this one, or to know that this link is there."""

    def __init__(self, connections: Connections, negotiation: Negotiation, hello: Hello) -> None:
        start_s = connections.order.start_s
        self._connections = connections
        self._negotiation = negotiation
        self._host = hello.sender
        self._near: Optional[socket.socket] = None
        self._approach: Optional[Approach] = None
        connections.hold(self)
        negotiation.hand_over(self._on_turn, self._failed)
        negotiation.limit(start_s, "did not take our answer in time")
        if hello.endpoint:
            path = connections.path(hello.endpoint)
            self._approach = Approach(connections.loop, path, HEARD * start_s, self._approached)
        else:
            negotiation.answer(Answer.WELCOME)

    def close(self) -> None:
        """Send the other host away."""
        if self._approach is not None:
            self._approach.close()
        if self._near is not None:
            self._near.close()
        self._negotiation.close()

    def _approached(self, near: Optional[socket.socket]) -> None:
        self._near = near
        if near is None:
            self._connections.release(self)
            self._negotiation.answer(Answer.NOBODY_THERE)
        else:
            self._negotiation.answer(Answer.WELCOME)

    def _on_turn(self, negotiation: Negotiation) -> None:
        if negotiation.greeting.phase is not Phase.THROUGH:
            return
        self._connections.release(self)
        if self._near is None:
            self._connections.watch(negotiation, self._host)
        else:
            self._connections.join(self._near, negotiation, self._host)

    def _failed(self, why: Refused) -> None:
        self._connections.release(self)
        self.close()
        if not isinstance(why, BrokeOff):  # a caller may want it no more; whether its host is gone tells its watch
            self._connections.lost(self._host, str(why))
