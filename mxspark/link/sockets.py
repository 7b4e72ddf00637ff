"""Unix sockets of roles: those that are elsewhere are bound here, those that are here are connected to."""

from __future__ import annotations

import socket
from typing import Callable, Optional

from mxspark.system import unix_sockets
from mxspark.system.loop import READ, Loop

BACKLOG = 128
RETRY_S = 0.02


class Stand:
    """Stands in for a role of another host, at the path where that one has its socket.

    Parameters
    ----------
    on_connection : callable
        Called with each connection of a process of this user.
    """

    def __init__(self, loop: Loop, path: str, on_connection: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._path = path
        self._on_connection = on_connection
        self._sock = unix_sockets.listen(path, socket.SOCK_STREAM, BACKLOG)
        loop.watch(self._sock.fileno(), READ, self._accept)

    def close(self) -> None:
        """Stand there no more."""
        if self._sock.fileno() >= 0:
            self._loop.watch(self._sock.fileno(), 0, self._accept)
            self._sock.close()
            unix_sockets.remove_socket(self._path)

    def _accept(self, _events: int) -> None:
        try:
            near, _ = self._sock.accept()
        except OSError:
            return
        if unix_sockets.same_user(near):
            self._on_connection(near)
        else:  # it could not have, by the mode of the socket
            near.close()


class Approach:
    """Connects to the socket of a role of this host, once that has bound it.

    Parameters
    ----------
    on_done : callable
        Called once with the connection, or with None if there was none in time.
    """

    def __init__(
        self, loop: Loop, path: str, limit_s: float, on_done: Callable[[Optional[socket.socket]], None]
    ) -> None:
        self._loop = loop
        self._path = path
        self._on_done = on_done
        self._limit = loop.after(limit_s, lambda: self._end(None))
        self._try()

    def close(self) -> None:
        """Do not connect any more."""
        self._limit.cancel()

    def _try(self) -> None:
        if self._limit.action is None:
            return
        near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        near.setblocking(False)
        if self._connect(near):
            self._end(near)
        else:
            near.close()
            self._loop.after(RETRY_S, self._try)

    def _connect(self, near: socket.socket) -> bool:
        """Return whether the role is there; what another user has put at the path is no role of ours."""
        try:
            near.connect(self._path)
        except OSError:
            return False
        return unix_sockets.same_user(near)

    def _end(self, near: Optional[socket.socket]) -> None:
        self.close()
        self._on_done(near)
