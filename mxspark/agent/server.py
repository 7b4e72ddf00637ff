"""The control port of the driver's agent: lets in who knows the secret, and nobody else for long."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Callable, Optional

from mxspark.protocol import frames
from mxspark.protocol.stream import Stream
from mxspark.system.loop import READ, Loop, Timer

HANDSHAKE_S = 10.0
MAX_STRANGERS = 64
BACKLOG = 128
FULL_S = 0.5  # between two looks whether a descriptor is free

log = logging.getLogger(__name__)


class Peer:
    """A connection to the control port. `rank` is None until its agent has joined; `heard` is when it last spoke."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.heard = now
        self.rank: Optional[int] = None
        self.stream: Stream
        self.limit: Timer

    def send(self, message: frames.Message) -> None:
        """Send a frame."""
        self.stream.send(message)


class ControlServer:
    """Accepts connections and authenticates them.

    Parameters
    ----------
    bind : str
        Numeric address to listen on; the port is chosen by the system.
    on_frame, on_lost : callable
        ``on_frame(peer, message)`` and ``on_lost(peer, reason)`` of authenticated peers.
    """

    def __init__(
        self,
        loop: Loop,
        bind: str,
        secret: bytes,
        on_frame: Callable[[Peer, frames.Message], None],
        on_lost: Callable[[Peer, str], None],
    ) -> None:
        if bind in ("", "0.0.0.0", "::"):
            raise ValueError(f"the control port must be bound to one address, not to {bind!r}")
        self._loop = loop
        self._secret = secret
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._strangers: list[Peer] = []
        self._socket = socket.create_server(
            (bind, 0), family=socket.AF_INET6 if ":" in bind else socket.AF_INET, backlog=BACKLOG
        )
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._listen()

    def _listen(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.watch(self._socket.fileno(), READ, lambda _events: self._accept())

    def know(self, peer: Peer) -> None:
        """The peer has said who it is: its time limit is over."""
        peer.limit.cancel()

    def drop(self, peer: Peer, reason: str) -> None:
        """Close a connection that must not go on."""
        log.warning("connection of %s refused: %s", peer.name, reason)
        self._forget(peer)
        peer.stream.close()

    def close(self) -> None:
        """Accept nobody any more."""
        self._loop.watch(self._socket.fileno(), 0, lambda _events: None)
        self._socket.close()

    def _accept(self) -> None:
        try:
            connection, address = self._socket.accept()
        except OSError as error:  # gone already, or no descriptor left
            log.warning("a connection could not be accepted: %s", error)
            if error.errno in (errno.EMFILE, errno.ENFILE):  # it stays in the queue, and would wake us without end
                self._loop.watch(self._socket.fileno(), 0, lambda _events: None)
                self._loop.after(FULL_S, self._listen)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._strangers) >= MAX_STRANGERS:  # one that means well needs milliseconds, and comes back
            self.drop(self._strangers[0], f"{MAX_STRANGERS} others wait to be authenticated")
        peer = Peer(f"{address[0]}:{address[1]}", self._loop.now())
        self._strangers.append(peer)
        peer.limit = self._loop.after(HANDSHAKE_S, lambda: self._expire(peer))
        peer.stream = Stream(
            self._loop,
            connection.detach(),
            frames.Secured(self._secret, server=True),
            lambda frame: self._on_frame(peer, frame),
            lambda error: self._lost(peer, error),
            lambda: self._strangers.remove(peer),
        )

    def _expire(self, peer: Peer) -> None:
        if peer.stream.open:
            self.drop(peer, f"it did not say who it is within {HANDSHAKE_S:g} s")

    def _lost(self, peer: Peer, error: Optional[frames.WireError]) -> None:
        is_stranger = peer in self._strangers
        self._forget(peer)
        if is_stranger or error is not None:
            log.warning("connection of %s refused: %s", peer.name, error or "it left before it was authenticated")
        if not is_stranger:
            self._on_lost(peer, str(error) if error else "the connection broke: its agent, or the whole host, is gone")

    def _forget(self, peer: Peer) -> None:
        peer.limit.cancel()
        if peer in self._strangers:
            self._strangers.remove(peer)
