"""The ways to move bytes from a socket to another: in the kernel, through memory, and encrypted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
from typing import Optional

from mxspark.link.flow import Flow
from mxspark.link.tls import Tls

BUFFER_BYTES = 262144
RECORD_BYTES = 16384  # of what TLS encrypts at once, at most
CAN_SPLICE = sys.version_info >= (3, 10)
_F_SETPIPE_SZ = 1031  # of fcntl, which names it from Python 3.10 on


class Spliced(Flow):
    """Through a pipe: the bytes do not leave the kernel. From Python 3.10 on."""

    def __init__(self, source: socket.socket, sink: socket.socket, from_far: bool, first: bytes) -> None:
        super().__init__(source, sink, from_far)
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._count = 0
        try:
            self._size = fcntl.fcntl(self._in, _F_SETPIPE_SZ, BUFFER_BYTES)
            if first:
                self._count = os.write(self._in, first)
        except OSError:
            self.close()
            raise
        self.moved = self._count

    @property
    def holds(self) -> bool:
        """Whether something is held."""
        return self._count > 0

    def take(self) -> int:
        """Move some from the source into the pipe."""
        if sys.version_info >= (3, 10):
            self._count = os.splice(self._source.fileno(), self._in, self._size, flags=os.SPLICE_F_NONBLOCK)
        return self._count

    def give(self) -> None:
        """Move some from the pipe to the sink."""
        if sys.version_info >= (3, 10):
            self._count -= os.splice(self._out, self._sink.fileno(), self._count, flags=os.SPLICE_F_NONBLOCK)

    def end(self) -> None:
        """Hold nothing: the end alone says it."""

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._in)
        os.close(self._out)


class Copied(Flow):
    """Through memory of this process."""

    def __init__(self, source: socket.socket, sink: socket.socket, from_far: bool, first: bytes = b"") -> None:
        super().__init__(source, sink, from_far)
        self._room = memoryview(bytearray(BUFFER_BYTES))
        self._held = memoryview(first)
        self.moved = len(first)

    @property
    def holds(self) -> bool:
        """Whether something is held."""
        return len(self._held) > 0

    def take(self) -> int:
        """Receive some."""
        count = self._source.recv_into(self._room)
        self._held = self._room[:count]
        return count

    def give(self) -> None:
        """Send some."""
        self._held = self._held[self._sink.send(self._held) :]

    def end(self) -> None:
        """Hold nothing: the end alone says it."""

    def close(self) -> None:
        """Free the memory."""
        self._held = memoryview(b"")
        self._room = self._held


class Sealed(Copied):
    """To the other host, encrypted."""

    def __init__(self, source: socket.socket, sink: socket.socket, tls: Tls) -> None:
        super().__init__(source, sink, from_far=False)
        self._tls = tls

    def take(self) -> int:
        """Receive some and encrypt it."""
        count = super().take()
        if count:
            self._tls.write(self._held)
            self._held = memoryview(self._tls.take_outgoing())
        return count

    def end(self) -> None:
        """Say goodbye, without which the end could be somebody else's doing."""
        self._tls.say_goodbye()
        self._held = memoryview(self._tls.take_outgoing())


class Opened(Copied):
    """From the other host, decrypted."""

    def __init__(self, source: socket.socket, sink: socket.socket, tls: Tls) -> None:
        super().__init__(source, sink, from_far=True)
        self._tls = tls
        # Less than there is room for, by the record that may have been begun before. All that has come is decrypted at
        # once, then: TLS cannot say goodbye while something is there that nobody has read.
        self._sealed = memoryview(bytearray(BUFFER_BYTES - RECORD_BYTES))
        self._arrived = 0

    @property
    def arrived(self) -> int:
        """Bytes that came from the source, encrypted."""
        return self._arrived

    def take(self) -> int:
        """Decrypt what has come. Something may have with the greeting, so that is looked at before the connection."""
        while (count := self._decrypt()) is None:
            received = self._source.recv_into(self._sealed)
            if received == 0:
                raise ConnectionError("it ended without a goodbye")
            self._arrived += received
            self._tls.feed(self._sealed[:received])
        self._held = self._room[:count]
        return count

    def _decrypt(self) -> Optional[int]:
        """Return how much there is in the room now: None for nothing yet, 0 for the end."""
        count = 0
        while count < len(self._room):
            got = self._tls.read(self._room[count:])
            if not got:
                return count or got
            count += got
        return count


def both(near: socket.socket, far: socket.socket, tls: Optional[Tls], first: bytes = b"") -> tuple[Flow, Flow]:
    """Return the flows to another host and from it.

    Parameters
    ----------
    near, far : socket.socket
        The role's, and the connection to the other host.
    tls : Tls or None
        With which all is encrypted.
    first : bytes
        What has come from the other host already.
    """
    if tls is not None:
        return Sealed(near, far, tls), Opened(far, near, tls)
    if CAN_SPLICE:
        # a user may have only so much memory in pipes, and a kernel in a sandbox may not splice sockets
        with contextlib.suppress(OSError):
            return _spliced(near, far, first)
    return Copied(near, far, from_far=False), Copied(far, near, from_far=True, first=first)


def _spliced(near: socket.socket, far: socket.socket, first: bytes) -> tuple[Flow, Flow]:
    out = Spliced(near, far, False, b"")
    try:
        return out, Spliced(far, near, True, first)
    except OSError:
        out.close()
        raise
