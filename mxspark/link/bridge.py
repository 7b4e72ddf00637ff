"""A role's unix socket and a connection to another host, joined."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Sequence
from typing import Callable, Optional

from mxspark.link.flow import Flow, Lost, Phase
from mxspark.link.rules import Pace
from mxspark.system.loop import READ, WRITE, Loop

HEAR_S = 5.0  # for the other host to hear the last words of a role that is gone
HEARD_POLL_S = 0.01
_LINGER = struct.Struct("ii")


def die_loudly(far: socket.socket, loudly: bool = True) -> None:
    """Have the kernel reset a connection when this process is killed, and not end it as after a last word.

    What the other end sees then is no end that could be taken for the role's own. To be taken back once all is said.
    """
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(loudly, 0))


class Bridge:
    """Carries bytes both ways until both sides have ended, or the other host is lost.

    Parameters
    ----------
    near, far : socket.socket
        The role's and the other host's; owned from now on.
    flows : tuple of Flow
        To the other host, and from it.
    on_end : callable
        Called once with this, and with words if the other host was lost.
    """

    def __init__(
        self,
        loop: Loop,
        near: socket.socket,
        far: socket.socket,
        flows: tuple[Flow, Flow],
        on_end: Callable[[Bridge, Optional[str]], None],
    ) -> None:
        near.setblocking(False)
        far.setblocking(False)
        die_loudly(far)
        self._loop = loop
        self._near = near
        self._far = far
        self._out, self._back = flows
        self._on_end = on_end
        self._watched = (0, 0)
        self._actions: tuple[Callable[[int], None], ...] = (
            self._on_near,
            self._on_far,
        )  # one object each, the loop compares identity
        self._give_up_at: Optional[float] = None
        self._pace = Pace()
        # What has come with the greeting is with the flow from the other host. It goes first: TLS cannot say goodbye
        # while there is something that nobody has read.
        self._loop.after(0, lambda: self._turn((self._back, self._out)))

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes carried to the other host, and from it."""
        return self._out.moved, self._back.moved

    def close(self) -> None:
        """Let go of both at once."""
        if self._near.fileno() >= 0:
            self._watch((0, 0))
            self._near.close()
            self._far.close()
            self._out.close()
            self._back.close()
            self._actions = ()  # or it would refer to itself, and its buffers wait for the collector

    def _on_near(self, events: int) -> None:
        self._turn([flow for flow, event in ((self._out, READ), (self._back, WRITE)) if events & event])

    def _on_far(self, events: int) -> None:
        before = self._back.arrived
        self._turn([flow for flow, event in ((self._back, READ), (self._out, WRITE)) if events & event])
        if events & READ and self._near.fileno() >= 0:
            rest_s = self._pace.rest_s(self._loop.now(), self._back.arrived - before)
            if rest_s:
                self._pace.is_resting = True
                self._look()
                self._loop.after(rest_s, self._wake)

    def _wake(self) -> None:
        self._pace.is_resting = False
        if self._near.fileno() >= 0:
            self._on_far(READ)

    def _turn(self, flows: Sequence[Flow]) -> None:
        if self._near.fileno() < 0:
            return
        try:
            for flow in flows:
                flow.pump()
        except Lost as lost:
            why = None if self._has_ended_there() else str(lost)
            self.close()
            self._on_end(self, why)
            return
        self._look()

    def _has_ended_there(self) -> bool:
        """Tell whether the role of the other host had ended its half before the connection broke: it is gone."""
        with contextlib.suppress(Lost):
            self._back.pump()
        return self._back.phase in (Phase.ENDING, Phase.OVER)

    def _look(self) -> None:
        """Wait for what comes next, if anything does."""
        if self._out.phase is Phase.OVER and self._back.phase is Phase.OVER:
            die_loudly(self._far, False)  # what the kernel has still to send is to be sent
            self._finish()
            return
        near = (READ if self._out.wants_source else 0) | (WRITE if self._back.wants_sink else 0)
        far = (READ if self._back.wants_source and not self._pace.is_resting else 0) | (
            WRITE if self._out.wants_sink else 0
        )
        self._watch((near, far))
        if self._back.phase is Phase.GONE and self._give_up_at is None:
            self._give_up_at = self._loop.now() + HEAR_S
            self._leave()

    def _leave(self) -> None:
        """The role here is gone. Let the other host have its last words, and then no more to say to it.

        A reset after an end is how that one knows it: the role there could go on sending for ever otherwise.
        """
        if self._near.fileno() < 0 or self._give_up_at is None:
            return
        left = fcntl.ioctl(self._far, termios.TIOCOUTQ, bytes(4))
        has_heard = self._out.phase is Phase.OVER and int.from_bytes(left, sys.byteorder) == 0
        if has_heard or self._loop.now() >= self._give_up_at:
            self._finish()
        else:
            self._loop.after(HEARD_POLL_S, self._leave)

    def _finish(self) -> None:
        self.close()
        self._on_end(self, None)

    def _watch(self, wanted: tuple[int, int]) -> None:
        for sock, events, now, action in zip((self._near, self._far), wanted, self._watched, self._actions):
            if events != now:
                self._loop.watch(sock.fileno(), events, action)
        self._watched = wanted
