"""Do driver and task reach each other? A meeting on TCP, each side opening one connection, both proving the secret."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from mxspark.protocol import frames

LIMIT_S = 10.0
"""Longest time for one connection and what is said on it."""
VISIT_S = 5.0
"""Longest time for the driver's own connection, so that the task still hears of it."""


class _Line:
    """A blocking, authenticated connection."""

    def __init__(self, sock: socket.socket, secret: bytes, server: bool) -> None:
        self._socket, self._codec = sock, frames.Secured(secret, server)
        self._frames: list[frames.Message] = []
        self._flush()
        while not self._codec.is_ready:
            self._read()

    def send(self, message: frames.Message) -> None:
        self._socket.sendall(self._codec.pack(message))

    def receive(self) -> frames.Message:
        while not self._frames:
            self._read()
        return self._frames.pop(0)

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the other side closed the connection")
        self._frames += self._codec.feed(data)
        self._flush()

    def _flush(self) -> None:
        outgoing = self._codec.take_outgoing()
        if outgoing:
            self._socket.sendall(outgoing)


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
            connection.settimeout(LIMIT_S)
            line = _Line(connection, self._secret, server=True)
            port = int(line.receive()["port"])
            line.send({"time": time.time()})
            line.send({"back": _visit(host, port, self._secret)})


def _visit(host: str, port: int, secret: bytes) -> str:
    """Open a connection and prove the secret; return why not, "" after success."""
    try:
        with socket.create_connection((host, port), VISIT_S) as sock:
            _Line(sock, secret, server=False)
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
            line = _Line(sock, secret, server=False)
            with socket.create_server((sock.getsockname()[0], 0)) as server:
                return _exchange(line, server, secret)
    except (OSError, frames.WireError) as error:
        return f"{address[0]} port {address[1]}: {error}", "not tried", 0.0


def _exchange(line: _Line, server: socket.socket, secret: bytes) -> tuple[str, str, float]:
    visited = threading.Thread(target=_be_visited, args=(server, secret), daemon=True)
    visited.start()
    before = time.time()
    line.send({"port": server.getsockname()[1]})
    theirs = float(line.receive()["time"])
    ours = (before + time.time()) / 2
    back = str(line.receive()["back"])
    visited.join(LIMIT_S)
    return "", back, ours - theirs


def _be_visited(server: socket.socket, secret: bytes) -> None:
    server.settimeout(LIMIT_S)
    # the visitor sees and reports what goes wrong
    with contextlib.suppress(OSError, frames.WireError):
        connection, _ = server.accept()
        with connection:
            connection.settimeout(LIMIT_S)
            _Line(connection, secret, server=True)
