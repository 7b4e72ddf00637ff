"""Do driver and task reach each other? A meeting on TCP, each side opening one connection, both proving the secret."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Optional

from mxspark.protocol import frames
from mxspark.protocol.channel import Channel

LIMIT_S = 10.0
"""Longest time for one connection and what is said on it."""
VISIT_S = 5.0
"""Longest time for the driver's own connection, so that the task still hears of it."""


class Listener:
    """The driver's side: answers every task, and connects back to it.

    Parameters
    ----------
    host : str
        Address to listen on.
    secret : bytes
        What tasks must know.
    """

    def __init__(self, host: str, secret: bytes) -> None:
        self._secret = secret
        self._socket = socket.create_server((host, 0))
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._over, self._told = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="mxspark-reach", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._told.close()
        self._thread.join(LIMIT_S)

    def _serve(self) -> None:
        with self._socket, self._over:
            while True:
                ready, _, _ = select.select([self._socket, self._over], [], [])
                if self._over in ready:
                    return
                connection, peer = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection, peer[0]), daemon=True).start()

    def _answer(self, connection: socket.socket, host: str) -> None:
        # whatever goes wrong here, the task sees and reports it
        with connection, contextlib.suppress(OSError, frames.WireError, KeyError, ValueError):
            channel = _authenticated(connection, self._secret, server=True)
            port = int(_receive(channel)["port"])
            channel.send({"time": time.time()})
            channel.send({"back": _visit(host, port, self._secret)})


def _authenticated(sock: socket.socket, secret: bytes, server: bool, limit_s: Optional[float] = None) -> Channel:
    """Return a connection whose two ends have proved the secret to each other."""
    channel = Channel(sock, frames.Secured(secret, server))
    channel.shake_hands(limit_s or LIMIT_S)
    return channel


def _receive(channel: Channel) -> frames.Message:
    message = channel.receive(LIMIT_S)
    if message is None:
        raise ConnectionError("the other side closed the connection")
    return message


def _visit(host: str, port: int, secret: bytes) -> str:
    """Open a connection and prove the secret; return why not, "" after success."""
    try:
        with socket.create_connection((host, port), VISIT_S) as sock:
            _authenticated(sock, secret, server=False, limit_s=VISIT_S)
    except (OSError, frames.WireError) as error:
        return f"{host} port {port}: {error}"
    return ""


def meet(address: tuple[str, int], secret: bytes) -> tuple[str, str, float]:
    """Meet the driver.

    Returns
    -------
    tuple of (str, str, float)
        Why the driver is not reached, why it does not reach us ("" where they do), and how much later our clock is.
    """
    try:
        with socket.create_connection(address, LIMIT_S) as sock:
            channel = _authenticated(sock, secret, server=False)
            with socket.create_server((sock.getsockname()[0], 0)) as server:
                return _exchange(channel, server, secret)
    except (OSError, frames.WireError) as error:
        return f"{address[0]} port {address[1]}: {error}", "not tried", 0.0


def _exchange(channel: Channel, server: socket.socket, secret: bytes) -> tuple[str, str, float]:
    visited = threading.Thread(target=_be_visited, args=(server, secret), daemon=True)
    visited.start()
    before = time.time()
    channel.send({"port": server.getsockname()[1]})
    theirs = float(_receive(channel)["time"])
    ours = (before + time.time()) / 2
    back = str(_receive(channel)["back"])
    visited.join(LIMIT_S)
    return "", back, ours - theirs


def _be_visited(server: socket.socket, secret: bytes) -> None:
    server.settimeout(LIMIT_S)
    # the visitor sees and reports what goes wrong
    with contextlib.suppress(OSError, frames.WireError):
        connection, _ = server.accept()
        with connection:
            _authenticated(connection, secret, server=True)
