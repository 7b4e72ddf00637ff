"""The workers of one host meet: a byte to everybody, a byte from everybody, over sockets that nobody else has.

A worker that is gone is an end of file at once. Nobody spins, so a host with more workers than cores loses no time.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping

from mxspark.errors import ClusterError

#: How long a worker that misses another waits to be ended by its agent, who knows why the other is gone.
PATIENCE_S = 10.0
_BYTES = 65536


class PeerGone(ClusterError):
    """Another worker of this host has left before its work was done; what ended it is told by its own agent."""


class Peers:
    """The other workers of this host.

    Parameters
    ----------
    rank : int
        This worker.
    descriptors : mapping of int to int
        A connected socket to each other worker of the host, by its rank.
    patience : callable
        Called with `PATIENCE_S` when somebody is gone; returns only if nobody ended this process meanwhile.

    Attributes
    ----------
    waited_s : float
        Seconds spent waiting for the others to come, in all.
    """

    def __init__(
        self, rank: int, descriptors: Mapping[int, int], patience: Callable[[float], None] = time.sleep
    ) -> None:
        self.rank, self._patience = rank, patience
        self.waited_s = 0.0
        self.members = tuple(sorted([rank, *descriptors]))
        self._sockets = {peer: socket.socket(fileno=fd) for peer, fd in sorted(descriptors.items())}

    def meet(self) -> None:
        """Return when every worker of the host has called this."""
        for rank, peer in self._sockets.items():
            self._send(rank, peer, b"m")
        before = time.perf_counter()
        for rank, peer in self._sockets.items():
            self._receive(rank, peer, 1)
        self.waited_s += time.perf_counter() - before

    def exchange(self, data: bytes) -> dict[int, bytes]:
        """Return what every worker of the host gave, by rank; all give the same number of bytes."""
        given = {rank: bytearray() for rank in self.members}
        given[self.rank] += data
        for start in range(0, len(data), _BYTES):  # less than a socket holds, so that nobody waits to send
            part = data[start : start + _BYTES]
            for rank, peer in self._sockets.items():
                self._send(rank, peer, part)
            before = time.perf_counter()
            for rank, peer in self._sockets.items():
                given[rank] += self._receive(rank, peer, len(part))
            self.waited_s += time.perf_counter() - before
        return {rank: bytes(parts) for rank, parts in given.items()}

    def _send(self, rank: int, peer: socket.socket, data: bytes) -> None:
        try:
            peer.sendall(data)
        except OSError:
            self._gone(rank)

    def _receive(self, rank: int, peer: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                part = peer.recv(count - len(data))
            except OSError:
                part = b""
            if not part:
                self._gone(rank)
            data += part
        return data

    def _gone(self, rank: int) -> None:
        self._patience(PATIENCE_S)
        raise PeerGone(
            f"worker {rank}, on this host, has left, and nobody has said why within {PATIENCE_S:g} s; see its log in "
            "the run's folder"
        )
