"""A socket at which connections are accepted, one in a turn of the loop, also where descriptors run out."""

from __future__ import annotations

import errno
import socket
from typing import Any, Callable

from mxspark.system.loop import READ, Loop

FULL_S = 0.5  # between two looks whether a descriptor is free


class Door:
    """Accepts connections.

    Parameters
    ----------
    sock : socket.socket
        Listens, and is owned from now on.
    on_accepted : callable
        Called with each connection and the address it comes from.
    """

    def __init__(self, loop: Loop, sock: socket.socket, on_accepted: Callable[[socket.socket, Any], None]) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_accepted = on_accepted
        self._action = self._accept  # one object, the loop compares identity
        self._open()

    def close(self) -> None:
        """Accept nobody any more."""
        if self._sock.fileno() >= 0:
            self._loop.watch(self._sock.fileno(), 0, self._action)
            self._sock.close()

    def _open(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.watch(self._sock.fileno(), READ, self._action)

    def _accept(self, _events: int) -> None:
        """Take one in; what is ready elsewhere has its turn before the next."""
        try:
            connection, address = self._sock.accept()
        except OSError as error:  # gone already, or no descriptor left
            if error.errno in (errno.EMFILE, errno.ENFILE):  # it stays in the queue, and would wake us without end
                self._loop.watch(self._sock.fileno(), 0, self._action)
                self._loop.after(FULL_S, self._open)
            return
        self._on_accepted(connection, address)
