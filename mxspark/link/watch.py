"""A connection that carries nothing, from each link to each: it tells when another host is gone."""

from __future__ import annotations

import contextlib
import socket
from typing import Callable, Optional

from mxspark.link.tls import Tls
from mxspark.system.loop import READ, Loop

READ_BYTES = 4096


def notice_silence(far: socket.socket, silence_s: float) -> None:
    """Have the kernel break a connection whose other end acknowledges nothing for so long.

    Not for one that carries something: the kernel breaks it too where the other end only does not read.
    """
    idle_s = max(1, round(silence_s / 2))
    far.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, idle_s // 2))
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silence_s * 1000))


class Watch:
    """One of them.

    Parameters
    ----------
    far : socket.socket
        To the other link; owned from now on.
    tls : Tls
        Of its greeting. Without it a goodbye could be anybody's.
    on_lost : callable
        Called once with words if the other link is gone without a goodbye.
    """

    def __init__(
        self, loop: Loop, far: socket.socket, tls: Tls, silence_s: float, on_lost: Callable[[str], None]
    ) -> None:
        far.setblocking(False)
        notice_silence(far, silence_s)
        self._loop = loop
        self._far = far
        self._tls = tls
        self._on_lost = on_lost
        self._room = memoryview(bytearray(READ_BYTES))
        self._action = self._on_events  # one object, the loop compares identity
        loop.watch(far.fileno(), READ, self._action)

    def close(self) -> None:
        """Say goodbye, and close it."""
        if self._far.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._tls.say_goodbye()
                self._far.send(self._tls.take_outgoing())
            self._let_go()

    def _on_events(self, _events: int) -> None:
        try:
            lost = self._hear()
        except BlockingIOError:
            return
        except OSError as error:
            lost = f"the connection to its link broke: {error}"
        if lost is not None:
            self._let_go()
            self._on_lost(lost)

    def _hear(self) -> Optional[str]:
        """Return how the other link was lost; None if it was not."""
        received = self._far.recv_into(self._room)
        if received == 0:
            return "its link is gone"
        self._tls.feed(self._room[:received])
        got = self._tls.read(self._room)
        if got == 0:
            self.close()
        return None if not got else "its link says something that it must not"

    def _let_go(self) -> None:
        if self._far.fileno() >= 0:
            self._loop.watch(self._far.fileno(), 0, self._action)
            self._far.close()
