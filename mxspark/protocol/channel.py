"""A blocking end of a connection between two of our own processes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Optional

from mxspark.protocol.frames import Message, Plain


class Channel:
    """A blocking end of an inherited socket pair. Any thread may send; one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._socket, self._codec = sock, Plain()
        self._frames: list[Message] = []
        self._sending = threading.Lock()

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Wrap an inherited descriptor."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send one frame.

        Raises
        ------
        OSError
            If the other end is gone.
        ValueError
            If the frame is larger than `MAX_FRAME_BYTES`.
        """
        data = self._codec.pack(message)
        with self._sending:
            self._socket.sendall(data)

    def receive(self, timeout: Optional[float] = None) -> Optional[Message]:
        """Return the next frame, or None once the other end is closed.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait; None waits until something happens.

        Raises
        ------
        TimeoutError
            If nothing came in time.
        WireError
            If what came is no frame.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._frames:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                poller = select.poll()
                poller.register(self._socket, select.POLLIN)
                if not poller.poll(None if left is None else left * 1000):
                    raise TimeoutError(f"nothing came over the channel for {timeout} s")
                data = self._socket.recv(65536)
            except (OSError, ValueError) as error:
                if isinstance(error, ConnectionResetError) or self._socket.fileno() == -1:
                    return None  # reset by the other end, or closed by another thread of ours
                raise
            if not data:
                return None
            self._frames.extend(self._codec.feed(data))
        return self._frames.pop(0)

    def close(self) -> None:
        """Close this end; a thread that receives returns None."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
