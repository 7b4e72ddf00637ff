"""A blocking end of a connection between two of our own processes."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Optional

from mxspark.protocol.frames import Codec, Message, Plain


class Channel:
    """A blocking end of a connection. Any thread may send; one thread receives.

    Parameters
    ----------
    sock : socket.socket
        One of an inherited pair, or on the network.
    codec : Codec, optional
        How frames look on it; default: as between ends that were inherited. One that must know the other end first is
        ready after :meth:`shake_hands`.
    """

    def __init__(self, sock: socket.socket, codec: Optional[Codec] = None) -> None:
        sock.setblocking(True)
        self._socket = sock
        self._codec: Codec = codec or Plain()
        self._frames: list[Message] = []
        self._sending = threading.Lock()

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Wrap an inherited descriptor."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._socket.fileno()

    def shake_hands(self, timeout: float) -> None:
        """Let both ends prove to each other what the codec asks of them.

        Raises
        ------
        ConnectionError
            If the other end closed the connection, as it does when it is not convinced.
        TimeoutError
            If it has not answered in time.
        WireError
            If it is not one of ours.
        """
        deadline = time.monotonic() + timeout
        self._flush()
        while not self._codec.is_ready:
            if not self._read(deadline):
                raise ConnectionError("the other side closed the connection")

    def send(self, message: Message) -> None:
        """Send one frame.

        Raises
        ------
        OSError
            If the other end is gone.
        ValueError
            If the frame is larger than `MAX_FRAME_BYTES`.
        """
        with self._sending:  # packed in here too: a secured frame carries its number, and must be sent in that order
            self._socket.sendall(self._codec.pack(message))

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
            if not self._read(deadline):
                return None
        return self._frames.pop(0)

    def _read(self, deadline: Optional[float]) -> bool:
        """Take in what comes next, and return whether the connection is still there."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            # no timeout of the socket's: that would hold for a thread that sends meanwhile too
            poller = select.poll()
            poller.register(self._socket, select.POLLIN)
            if not poller.poll(None if left is None else left * 1000):
                raise TimeoutError("nothing came over the channel in time")
            data = self._socket.recv(65536)
        except (OSError, ValueError) as error:
            if isinstance(error, ConnectionResetError) or self._socket.fileno() == -1:
                return False  # reset by the other end, or closed by another thread of ours
            raise
        if not data:
            return False
        self._frames.extend(self._codec.feed(data))
        self._flush()
        return True

    def _flush(self) -> None:
        """Send what the codec itself has to say."""
        outgoing = self._codec.take_outgoing()
        if outgoing:
            with self._sending:
                self._socket.sendall(outgoing)

    def close(self) -> None:
        """Close this end; a thread that receives returns None."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
