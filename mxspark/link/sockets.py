"""Unix sockets of roles: those that are elsewhere are bound here, those that are here are connected to."""

from __future__ import annotations

import contextlib
import socket
from typing import Callable, Optional

from mxspark.link.door import Door
from mxspark.system import unix_sockets
from mxspark.system.loop import Loop

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
        self._path = path
        self._on_connection = on_connection
        self._door = Door(loop, unix_sockets.listen(path, socket.SOCK_STREAM, BACKLOG), self._let_in)

    def close(self) -> None:
        """Stand there no more."""
        self._door.close()
        unix_sockets.remove_socket(self._path)

    def _let_in(self, near: socket.socket, _address: object) -> None:
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
        near = self._connect()
        if near is None:
            self._loop.after(RETRY_S, self._try)
        else:
            self._end(near)

    def _connect(self) -> Optional[socket.socket]:
        """Return a connection to the role if it is there; what another user has put at the path is no role of ours."""
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            near = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            near.setblocking(False)
            near.connect(self._path)
            if unix_sockets.same_user(near):
                stack.pop_all()
                return near
        return None

    def _end(self, near: Optional[socket.socket]) -> None:
        self.close()
        self._on_done(near)
